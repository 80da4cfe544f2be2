"""How a model is asked: what answers, what a question is, and what the running test says of both."""
