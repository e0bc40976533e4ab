"""Named combinations of settings: rows of the table of models.

A preset is a model of the field as published, on this package's encoder, decoder and training loop; what differs from
the public code stands beside it. Genes are chosen before, by the caller.
"""

from __future__ import annotations

from typing import Any

from scrae._errors import Refusal
from scrae.autoencoder.settings import Settings

_PLAIN: dict[str, Any] = {
    "normalisation": "none",
    "activation": "relu",
    "standardise_codes": False,
    "input_transform": "lognorm",
    "mask_rate": 0.0,
    "contrast_weight": 0.0,
    "n_pcs": 0,
    "smoothing": 0.0,
    "n_residual": 0,
    "dispersion_steps": 0,
    "bfloat16": False,
    "early_stopping": False,
}


def _published(**settings: Any) -> Settings:
    """Settings without what scRAE adds: most published models train all cells for a number of epochs, unmasked."""
    return Settings(**_PLAIN | settings)


_REPORT: dict[str, Any] = {
    "likelihood": "mse",
    "n_latent": 6,
    "input_transform": "scaled",
    "target": "scaled",
    "batch_size": 256,
    "max_epochs": 200,
}
_REPORT_VAE: dict[str, Any] = _REPORT | {"n_hidden": (800, 400), "decoder_hidden": (80, 400, 800)}

_WAE: dict[str, Any] = {
    "likelihood": "mse",
    "n_latent": 8,
    "normalisation": "batch",
    "batch_size": 100,
    "max_epochs": 100,
}

_SCVAE: dict[str, Any] = {
    "likelihood": "nb",
    "n_latent": 100,
    "n_hidden": (100, 100),
    "normalisation": "slow_batch",
    "input_transform": "counts",
    "learning_rate": 1e-4,
    "batch_size": 100,
    "max_epochs": 500,
}

_DENOISING: dict[str, Any] = {
    "per_gene": True,
    "n_latent": 32,
    "n_hidden": (256, 64),
    "input_transform": "scaled",
    "batch_size": 256,
}

PRESETS: dict[str, Settings] = {
    "default": Settings(),
    "reference": _published(
        n_hidden=(512, 512),
        normalisation="affine",
        activation="leaky_relu",
        input_transform="log2_max",
        target="log2_max",
        library="learned",
        library_weight=0.1,
        batch_size=16,
        max_epochs=200,
        regulariser_options={
            "adversarial_learning_rate": 9e-5,
            "pull": 1e-3,
            "adversarial_every": 5,
            "prior_hidden": (32, 32),
            "critic_hidden": (64, 64),
        },
    ),
    # Plain autoencoder: the report okunator/Variational-Autoencoders on PBMC 3k (scaled data, 200 epochs, batch 256).
    # Its first encoder layer has no activation; here every hidden layer has one.
    "ae": _published(regulariser="none", n_hidden=(128, 32, 16), **_REPORT),
    # DCA (Eraslan et al. 2019, theislab/dca: 64-32-64, batch 32, gradients clipped at 5, a tenth held out, stop after
    # 15 epochs). Here Adam instead of RMSprop, whose rate is not lowered on plateaus; one dispersion per gene and not a
    # decoder output; means are shares of the library; the bottleneck is normalised, too, but has no ReLU.
    "dca": _published(
        regulariser="none",
        per_gene=True,
        n_latent=32,
        n_hidden=(64,),
        normalisation="slow_batch",
        standardise_codes=True,
        input_transform="scaled",
        clip_gradient=5.0,
        batch_size=32,
        max_epochs=300,
        early_stopping=True,
        patience=15,
    ),
    # Adversarial autoencoder (Makhzani et al. 2015: encoder, decoder and critic of two layers of 1000, in turn). Here
    # the critic is a Wasserstein one with gradient penalty, and Adam replaces SGD.
    "aae": _published(
        likelihood="mse",
        regulariser="fixed_prior",
        n_hidden=(1000, 1000),
        batch_size=100,
        max_epochs=100,
        regulariser_options={
            "critic_hidden": (1000, 1000),
            "pull": 1.0,
            "adversarial_learning_rate": 1e-3,
            "adversarial_every": 2,
        },
    ),
    # WAE (Tolstikhin et al. 2018, tolstikhin/wae for MNIST: latent 8, batch 100, 100 epochs; critic of four layers of
    # 512, half the learning rate; or MMD, whose weight of 10 stands beside 0.05 of the squared error). Here the critic
    # is a Wasserstein one, and layers of 256 and 128 replace the convolutions for images.
    "wae": _published(
        regulariser="fixed_prior",
        regulariser_options={
            "critic_hidden": (512, 512, 512, 512),
            "pull": 1.0,
            "adversarial_learning_rate": 5e-4,
            "adversarial_every": 2,
        },
        **_WAE,
    ),
    "wae_mmd": _published(regulariser="mmd", regulariser_options={"weight": 200.0}, **_WAE),
    # beta-VAE (Higgins et al. 2017) and beta-VSC (Tonolini et al. 2019) as in the report named at "ae", beta = 2. (Its
    # beta-VSC is called with 2 and computes with 1, and its first encoder layer of the beta-VAE has no activation.)
    "beta_vae": _published(regulariser="kl_normal", regulariser_options={"weight": 2.0}, **_REPORT_VAE),
    "beta_vsc": _published(
        regulariser="kl_spike_and_slab",
        regulariser_options={"weight": 2.0, "slab_probability": 0.5, "slope": 50.0},
        **_REPORT_VAE,
    ),
    # scVI (Lopez et al. 2018) with the defaults of scvi-tools 1.4: observed library size (library="learned" is that of
    # the paper), KL rising over 400 epochs. scvi-tools takes fewer epochs for more than 20,000 cells, and holds out a
    # tenth of the cells without stopping by them.
    "scvi": _published(
        regulariser="kl_normal",
        n_hidden=(128,),
        normalisation="slow_batch",
        dropout_rate=0.1,
        decoder_dropout_rate=0.0,
        input_transform="log1p",
        adam_eps=0.01,
        weight_decay=1e-6,
        max_epochs=400,
        regulariser_options={"warmup_epochs": 400, "smallest_variance": 1e-4},
    ),
    # scVAE (Groenbech et al. 2020, scvae/scvae with the settings that its guide gives for PBMC), Gaussian and mixture
    # prior. Here means are shares of the library, and the mixture is of the prior alone (see MixturePrior).
    "scvae": _published(regulariser="kl_normal", regulariser_options={"warmup_epochs": 200}, **_SCVAE),
    "scvae_gm": _published(
        regulariser="kl_mixture", regulariser_options={"warmup_epochs": 200, "n_components": 10}, **_SCVAE
    ),
    # DR-A (Lin et al. 2020, eugenelin1/DRA: its settings for Zeisel and latent 10). Differences: see DualMatching; and
    # the embedding is the posterior's mean instead of a draw.
    "dr_a": _published(
        regulariser="dual_matching",
        n_hidden=(512,),
        activation="leaky_relu",
        dropout_rate=0.1,
        input_transform="log2_max",
        target="log2_max",
        library="learned",
        learning_rate=7e-4,
        max_epochs=200,
        regulariser_options={"critic_hidden": (512,)},
    ),
    # SAUCIE (Amodio et al. 2019, KrishnaswamyLab/SAUCIE: 512-256-128-2, batch 256, its script's weights). Its README's
    # 1,000 steps are 100 epochs of 2,560 cells. The input is log-normalised instead of the arcsinh of cytometry, every
    # layer is leaky, of which the entropy sees the positive part, and all batches are reconstructed as they are, since
    # the decoder is told the batch.
    "saucie": _published(
        likelihood="mse",
        regulariser="information_dimension",
        per_gene=True,
        n_latent=2,
        n_hidden=(512, 256, 128),
        activation="leaky_relu",
        batch_size=256,
        max_epochs=100,
        regulariser_options={"entropy_weight": 0.1, "distance_weight": 0.2, "batch_weight": 0.1},
    ),
    # scDeepCluster (Tian et al. 2019, ttgump/scDeepCluster: 256-64-32, noise 2.5, batch 256, 400 epochs before it
    # clusters). Here Adam goes on where Adadelta takes over, dispersions are one per gene, means are shares of the
    # library.
    "scdeepcluster": _published(
        regulariser="dec",
        noise_sd=2.5,
        max_epochs=1000,
        regulariser_options={"pretraining_epochs": 400, "weight": 1.0, "tolerance": 1e-3},
        **_DENOISING,
    ),
    # scziDesk (Chen et al. 2020, xuebaliang/scziDesk: the same layers, noise 1.5, 1,000 epochs and 2,000 more, a look
    # at every tenth). Here the noise is there (the public code never sets Keras's learning phase, so it seems to
    # train without); no ridge on the dropout probabilities; dispersions and means as above.
    "sczidesk": _published(
        regulariser="soft_kmeans",
        noise_sd=1.5,
        learning_rate=1e-4,
        max_epochs=3000,
        regulariser_options={
            "pretraining_epochs": 1000,
            "soft_kmeans_weight": 1e-3,
            "inflation_weight": 1e-3,
            "tolerance": 1e-3,
            "check_every": 10,
        },
        **_DENOISING,
    ),
    # scDCC (Tian et al. 2021, ttgump/scDCC: scDeepCluster, and penalties of weight 1 on pairs of cells that
    # SCRAE.fit is told of, from where it clusters on; up to 2,000 epochs of that). Here pairs are drawn for every
    # minibatch and share its step, where the public code has steps of their own after each epoch, in which the cells of
    # must-link pairs are reconstructed as well.
    "scdcc": _published(
        regulariser="dec",
        noise_sd=2.5,
        max_epochs=2400,
        must_link_weight=1.0,
        cannot_link_weight=1.0,
        regulariser_options={"pretraining_epochs": 400, "weight": 1.0, "tolerance": 1e-3},
        **_DENOISING,
    ),
    # contrastive-sc (Ciortan and Defrance 2021, ciortanmadalina/contrastive-sc: 200-40-60, nine tenths of the input
    # dropped in each of two views, NT-Xent at 0.07, batch 200, 30 epochs of Adam at 0.4, codes of length 1; 500 genes).
    # Here the rate of 0.4 does not fall: over 30 of the 500 epochs of its cosine it loses a hundredth.
    "contrastive_sc": _published(
        likelihood="none",
        regulariser="sphere",
        n_latent=60,
        n_hidden=(200, 40),
        normalisation="batch",
        input_transform="scaled",
        mask_rate=0.9,
        contrast_weight=1.0,
        contrast_temperature=0.07,
        contrast_own_view=True,
        learning_rate=0.4,
        batch_size=200,
        max_epochs=30,
    ),
    # VASC (Wang and Gu 2018, wang-research/VASC: 512-128-32-2 and back, half of the input dropped, batch 256, a
    # zero-inflation layer at temperature 1; 500 epochs at least, then until the loss stands still). Here 500 epochs of
    # Adam replace RMSprop; every layer has its ReLU, where the first has none but an L1 penalty; the variance of the
    # posterior is learned, which the public code leaves at e unless asked; and log2(x + 1) is divided by the largest
    # value of all cells, not of each.
    "vasc": _published(
        likelihood="zi_cross_entropy",
        regulariser="kl_normal",
        n_latent=2,
        n_hidden=(512, 128, 32),
        input_transform="log2_max",
        mask_rate=0.5,
        batch_size=256,
        max_epochs=500,
    ),
}
"""``"default"``: what a user gets without asking; each choice has its reason in docs/MODEL.md.

``"reference"``: the published code (its settings for the Zeisel data, 10 latent dimensions), quirks included: the
encoder's adversarial rate of 1e-3 of the autoencoder's; critic 4 of 5, encoder and prior 1 of 5 iterations; the ZINB
on log2(x + 1) / max; the library term at 0.05 of twice the KL; batch normalisation that never normalises
(``normalisation="affine"``; the code's other branch is ``normalisation="none", dropout_rate=0.1``). Any of them is
undone by naming the setting: ``SCRAE("reference", target="counts", input_transform="lognorm")``.

The other models of the field are in the table of docs/PRESETS.md.
"""


def settings_of(preset: Any) -> Settings:
    """Settings of a preset by name."""
    if not isinstance(preset, str) or preset not in PRESETS:
        raise Refusal(
            f"preset {preset!r} is not known; choose one of {', '.join(map(repr, PRESETS))}",
            "not_one_of",
            name="preset",
            known=list(PRESETS),
            value=preset,
        )
    return PRESETS[preset]
