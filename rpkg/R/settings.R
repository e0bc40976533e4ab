# The settings of the Python model, so that a call is judged before Python starts.
# tests/r/test-arguments.R compares these tables with Python's own.

# Which regulariser each preset has.
PRESETS <- c(
    default = "learned_prior", reference = "learned_prior", ae = "none",
    dca = "none", aae = "fixed_prior", wae = "fixed_prior", wae_mmd = "mmd",
    beta_vae = "kl_normal", beta_vsc = "kl_spike_and_slab", scvi = "kl_normal",
    scvae = "kl_normal", scvae_gm = "kl_mixture", dr_a = "dual_matching",
    saucie = "information_dimension", scdeepcluster = "dec",
    sczidesk = "soft_kmeans", scdcc = "dec", contrastive_sc = "sphere",
    vasc = "kl_normal"
)

# What each setting takes: one value of a kind, or widths of layers; "?": or NULL.
SETTINGS <- c(
    likelihood = "str", regulariser = "str", regulariser_options = "options",
    per_gene = "bool", n_latent = "int", n_hidden = "widths",
    decoder_hidden = "widths?", normalisation = "str", activation = "str",
    dropout_rate = "float", decoder_dropout_rate = "float?", noise_sd = "float",
    standardise_codes = "bool", input_transform = "str", target = "str?",
    mask_rate = "float", contrast_weight = "float", contrast_temperature = "float",
    contrast_own_view = "bool",
    must_link_weight = "float", cannot_link_weight = "float",
    n_pcs = "int", smoothing = "float", n_residual = "int?", library = "str",
    library_weight = "float", dispersion = "str", dispersion_steps = "int",
    learning_rate = "float", adam_eps = "float", weight_decay = "float",
    clip_gradient = "float?", batch_size = "int", bfloat16 = "bool",
    n_steps = "int", max_epochs = "int?", early_stopping = "bool", patience = "int?",
    validation_size = "float"
)

# Those without an argument of their own.
RARE_SETTINGS <- setdiff(names(SETTINGS), c("n_latent", "max_epochs"))

SETTING_VALUES <- list(
    likelihood = c("gaussian", "nb", "none", "poisson", "mse", "zi_cross_entropy", "zinb"),
    regulariser = c(
        "none", "fixed_prior", "learned_prior", "dec", "kl_normal", "kl_mixture",
        "kl_spike_and_slab", "dual_matching", "information_dimension", "mmd",
        "soft_kmeans", "sphere"
    ),
    normalisation = c("batch", "slow_batch", "layer", "affine", "none"),
    activation = c("relu", "leaky_relu", "gelu"),
    input_transform = c("counts", "log1p", "lognorm", "log2_max", "scaled"),
    target = c("counts", "log1p", "lognorm", "log2_max", "scaled"),
    library = c("observed", "learned"),
    dispersion = c("gene", "gene-batch")
)

SETTING_LEAST <- c(
    n_latent = 1, batch_size = 2, n_steps = 1, patience = 1, n_pcs = 0, n_residual = 0,
    dispersion_steps = 0
)

OF_CRITIC <- c(
    "adversarial_every", "adversarial_learning_rate", "critic_hidden",
    "gradient_penalty_weight", "pull"
)
OF_VARIANCE <- c("smallest_variance", "warmup_epochs", "warmup_steps", "weight")

REGULARISER_OPTIONS <- list(
    none = character(), fixed_prior = OF_CRITIC,
    learned_prior = c(OF_CRITIC, "prior_hidden"),
    dec = c("check_every", "n_clusters", "pretraining_epochs", "tolerance", "weight"),
    kl_normal = OF_VARIANCE, kl_mixture = c("n_components", OF_VARIANCE),
    kl_spike_and_slab = c("slab_probability", "slope", OF_VARIANCE),
    dual_matching = c(
        "critic_hidden", "critic_learning_rate", "data_weight", OF_VARIANCE
    ),
    information_dimension = c("batch_weight", "distance_weight", "entropy_weight"),
    mmd = "weight",
    soft_kmeans = c(
        "check_every", "inflation_weight", "n_clusters", "pretraining_epochs",
        "soft_kmeans_weight", "tolerance"
    ),
    sphere = character()
)

# A name as the tables above have it: "scVI", "beta-VAE".
in_small_letters <- function(name) gsub("[- ]", "_", tolower(name))

known_preset <- function(preset) {
    a_name(preset, "preset")
    one_of(in_small_letters(preset), names(PRESETS), "preset", preset)
}

one_of <- function(value, known, name, as_typed = value) {
    if (!value %in% known) {
        refuse("not_one_of", list(name = name, value = as_typed, known = known))
    }
    value
}

#' Settings of a training, checked and as Python knows them
#'
#' @param settings Named list of what was given in `...`.
#' @param preset Name of a preset, from [known_preset()].
#' @return The list, names of choices in small letters.
#' @noRd
known_settings <- function(settings, preset) {
    regulariser <- settings$regulariser %||% PRESETS[[preset]]
    if (is.character(regulariser) && length(regulariser) == 1L) {
        regulariser <- in_small_letters(regulariser)
    }
    options <- REGULARISER_OPTIONS[[if (
        is.character(regulariser) && length(regulariser) == 1L &&
            regulariser %in% names(REGULARISER_OPTIONS)
    ) regulariser else PRESETS[[preset]]]]
    known <- c(names(SETTINGS), options)
    unknown <- setdiff(names(settings), known)
    if (length(unknown) > 0L) {
        of_others <- unknown[1L] %in% unlist(REGULARISER_OPTIONS)
        fail(
            "there is no argument '", dotted(unknown[1L]), "'",
            if (of_others) {
                paste0(
                    " of preset \"", preset, "\": it is one of ",
                    quoted(names(Filter(function(regulariser) {
                        unknown[1L] %in% REGULARISER_OPTIONS[[regulariser]]
                    }, PRESETS)), 20L)
                )
            } else {
                paste0("; ", hint(dotted(unknown[1L]), dotted(known)))
            },
            class = "scrae_unknown_setting"
        )
    }
    for (name in intersect(names(settings), names(SETTINGS))) {
        # A list of NULL stays one: to give NULL is to ask for it.
        settings[name] <- list(known_setting(name, settings[[name]]))
    }
    settings
}

known_setting <- function(name, value) {
    kind <- SETTINGS[[name]]
    if (is.null(value) && endsWith(kind, "?")) {
        return(NULL)
    }
    kind <- sub("?", "", kind, fixed = TRUE)
    right <- switch(kind,
        str = is.character(value) && length(value) == 1L && !is.na(value),
        bool = is.logical(value) && length(value) == 1L && !is.na(value),
        int = ,
        float = is.numeric(value) && length(value) == 1L && is.finite(value),
        TRUE
    )
    if (!right) {
        refuse("other_kind", list(name = name, kind = kind, value = value))
    }
    if (kind == "widths") {
        right <- is.numeric(value) && length(value) > 0L && all(is.finite(value)) &&
            all(value == trunc(value)) && all(value >= 1)
        if (!right) {
            refuse("no_widths", list(name = name, value = value))
        }
    }
    if (name %in% names(SETTING_LEAST)) at_least(value, SETTING_LEAST[[name]], dotted(name))
    if (name %in% names(SETTING_VALUES)) {
        small <- if (name == "dispersion") tolower(value) else in_small_letters(value)
        value <- one_of(small, SETTING_VALUES[[name]], name, value)
    }
    value
}
