# The table of presets, as a help page.

#' Published models as presets
#'
#' Each is one choice of two terms, reconstruction and regulariser, on the same
#' encoder, decoder and training loop, and is the model as published. Any setting,
#' and any option of its regulariser, is changed by naming it:
#' `RunSCRAE(object, preset = "beta_vae", weight = 4)`. Capitals do not matter.
#'
#' | preset | model | reconstruction | regulariser | layers, latent | training |
#' |---|---|---|---|---|---|
#' | `default` | scRAE as this package trains it | ZINB | `learned_prior` | 256-128, 10 | 1,000 steps, masked |
#' | `reference` | scRAE, published code (Mondal et al. 2021) | ZINB on log2 / max | `learned_prior` | 512-512, 10 | 200 epochs of 16 |
#' | `ae` | plain autoencoder, okunator's report | squared error, scaled | `none` | 128-32-16, 6 | 200 epochs of 256 |
#' | `dca` | DCA (Eraslan et al. 2019) | ZINB | `none` | 64, 32 | 300 epochs of 32, early stopping |
#' | `aae` | adversarial autoencoder (Makhzani et al. 2015) | squared error | `fixed_prior` | 1000-1000, 10 | 100 epochs of 100 |
#' | `wae` | Wasserstein autoencoder, critic (Tolstikhin et al. 2018) | squared error | `fixed_prior` | 256-128, 8 | 100 epochs of 100 |
#' | `wae_mmd` | the same with MMD | squared error | `mmd`, weight 200 | 256-128, 8 | 100 epochs of 100 |
#' | `beta_vae` | beta-VAE (Higgins et al. 2017), okunator's report | squared error, scaled | `kl_normal`, beta 2 | 800-400, 6, 80-400-800 | 200 epochs of 256 |
#' | `beta_vsc` | beta-VSC (Tonolini et al. 2019), okunator's report | squared error, scaled | `kl_spike_and_slab`, beta 2 | 800-400, 6, 80-400-800 | 200 epochs of 256 |
#' | `scvi` | scVI (Lopez et al. 2018), scvi-tools 1.4 | ZINB | `kl_normal`, rising over 400 epochs | 128, 10 | 400 epochs of 128 |
#' | `scvae` | scVAE (Groenbech et al. 2020) | NB | `kl_normal`, rising over 200 epochs | 100-100, 100 | 500 epochs of 100 |
#' | `scvae_gm` | scVAE with a mixture prior | NB | `kl_mixture`, 10 components | 100-100, 100 | 500 epochs of 100 |
#' | `dr_a` | DR-A (Lin et al. 2020) | ZINB on log2 / max | `dual_matching` | 512, 10 | 200 epochs of 128 |
#' | `saucie` | SAUCIE (Amodio et al. 2019) | squared error | `information_dimension` | 512-256-128, 2 | 100 epochs of 256 |
#' | `scdeepcluster` | scDeepCluster (Tian et al. 2019) | ZINB, noise 2.5 | `dec` | 256-64, 32 | 400 epochs of 256, then until clusters settle |
#' | `sczidesk` | scziDesk (Chen et al. 2020) | ZINB, noise 1.5 | `soft_kmeans` | 256-64, 32 | 1,000 epochs of 256, then until clusters settle |
#' | `scdcc` | scDCC (Tian et al. 2021) | ZINB, noise 2.5 | `dec`, with `must.link` and `cannot.link` | 256-64, 32 | 400 epochs of 256, then until clusters settle |
#' | `contrastive_sc` | contrastive-sc (Ciortan and Defrance 2021) | none: two views of a cell recognise each other | `sphere` | 200-40, 60 | 30 epochs of 200, nine tenths masked |
#' | `vasc` | VASC (Wang and Gu 2018) | cross-entropy behind a layer of zeros, on log2 / max | `kl_normal` | 512-128-32, 2 | 500 epochs of 256, half masked |
#'
#' `"scdeepcluster"`, `"scdcc"` and `"sczidesk"` train an autoencoder first, place as many
#' centroids as `n_clusters` says on its codes (NULL: as many as the codes have
#' communities) and go on until fewer than `tolerance` of the cells change their
#' cluster.
#'
#' In all of them the means of the decoder are shares of the library, dispersions
#' are one per gene, and minibatches are of nearly equal size. Only `"default"` and
#' `"dca"` stop early; `"default"`, `"contrastive_sc"` and `"vasc"` mask their
#' input. `"contrastive_sc"` gives an embedding alone: there is nothing to denoise or to sample.
#' @name scRAE-presets
#' @return No function: a value of the argument `preset` of [RunSCRAE()] gives the model of its row.
#' @seealso [RunSCRAE()]
#' @references Mondal AK and others (2021) \doi{10.1109/TCBB.2021.3098394}
NULL
