"""Named combinations of settings: rows of the table of models."""

from __future__ import annotations

from scrae.settings import Settings

PRESETS: dict[str, Settings] = {
    "default": Settings(),
    "reference": Settings(
        n_hidden=(512, 512),
        normalisation="affine",
        standardise_codes=False,
        mask_rate=0.0,
        input_transform="log2_max",
        target="log2_max",
        library="learned",
        library_weight=0.1,
        batch_size=16,
        max_epochs=200,
        early_stopping=False,
        regulariser_options={
            "adversarial_learning_rate": 9e-5,
            "pull": 1e-3,
            "adversarial_every": 5,
            "prior_hidden": (32, 32),
            "critic_hidden": (64, 64),
        },
    ),
}
"""``"default"``: what a user gets without asking; each choice has its reason in docs/MODEL.md.

``"reference"``: the published code (its settings for the Zeisel data, 10 latent dimensions), quirks included: the
encoder's adversarial rate of 1e-3 of the autoencoder's; critic 4 of 5, encoder and prior 1 of 5 iterations; the ZINB
on log2(x + 1) / max; the library term at 0.05 of twice the KL; batch normalisation that never normalises
(``normalisation="affine"``; the code's other branch is ``normalisation="none", dropout_rate=0.1``). Any of them is
undone by naming the setting: ``SCRAE("reference", target="counts", input_transform="lognorm")``.
"""


def settings_of(preset: str) -> Settings:
    """Settings of a preset by name."""
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is not known; choose one of {', '.join(map(repr, PRESETS))}")
    return PRESETS[preset]
