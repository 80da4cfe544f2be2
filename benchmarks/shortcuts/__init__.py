"""Small models of known truth: some rely on an artefact of their images, their twins do not."""
