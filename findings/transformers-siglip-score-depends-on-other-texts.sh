#!/usr/bin/env bash
# transformers: with padding=True, the usual choice and the default of CLIP's examples, SigLIP's score of a text depends on the
# longest other text in the call: the text feature is read at the last position, which is padding or not, and how much padding stands
# before it changes it. Adding a class changes the scores of all others. With padding="max_length", as it was trained, they stay.
# Source: transformers.models.siglip.modeling_siglip.SiglipTextTransformer, 5.24.0.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(transformers==5.24.0 torch==2.15.0 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
import transformers

print("transformers", version("transformers"))
transformers.logging.set_verbosity_error()
torch.manual_seed(0)
tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
text = {**tower, "vocab_size": 100, "max_position_embeddings": 64, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 1}
config = transformers.SiglipConfig(text_config=text, vision_config={**tower, "image_size": 32, "patch_size": 8})
model, image = transformers.SiglipModel(config).eval(), torch.rand(1, 3, 32, 32)
cat, dog, longer = [5, 6, 7, 1], [8, 9, 1], [*range(10, 30), 1]


def scores(texts, length=None):
    width = length or max(map(len, texts))
    tokens = torch.tensor([row + [1] * (width - len(row)) for row in texts])  # as its tokenizer pads
    with torch.no_grad():
        return model(input_ids=tokens, pixel_values=image).logits_per_image[0, :2]


print("expected: the scores of two texts stay as they are when a third one is added")
two, three = scores([cat, dog]), scores([cat, dog, longer])
print("seen, padded to the longest:", two.tolist(), "->", three.tolist())
fixed, again = scores([cat, dog], 64), scores([cat, dog, longer], 64)
print("      padded to 64:         ", fixed.tolist(), "->", again.tolist())
assert not torch.allclose(two, three, rtol=1e-2)
assert torch.allclose(fixed, again, rtol=1e-4, atol=1e-6)
PYTHON
