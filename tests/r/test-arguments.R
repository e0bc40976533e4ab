# Arguments are judged in R, before Python starts.

# Without Python: what is refused here is refused by R alone.
without_python <- function(code) {
    before <- options(scrae.python = "/nowhere/python")
    on.exit(options(before))
    force(code)
}

# Below a second of the processor, whatever else the machine does.
refused <- function(code, words) {
    took <- system.time(without_python(expect_error(code, words, class = "scrae_error")))
    expect_lt(took[["user.self"]] + took[["sys.self"]], 1)
}

# Its packages take seconds to load, which a user's session has behind it.
loaded_sce <- made_sce()

test_that("the tables of settings are those of Python", {
    said <- python("
import json
from dataclasses import fields
from scrae.autoencoder.presets import PRESETS
from scrae.autoencoder.settings import Settings, _options_of, WHOLE
from scrae.data.transforms import CountTransform
from scrae.likelihoods import Likelihood
from scrae.networks.layers import ACTIVATIONS, NORMALISATIONS
from scrae.networks.library_size import LIBRARIES
from scrae.regularisers import Regulariser
print(json.dumps({
    'presets': {name: preset.regulariser for name, preset in PRESETS.items()},
    'settings': {f.name: str(f.type) for f in fields(Settings)},
    'options': {name: sorted(_options_of(name)) for name in Regulariser.registry},
    'least': WHOLE,
    'values': {
        'likelihood': list(Likelihood.registry), 'regulariser': list(Regulariser.registry),
        'normalisation': NORMALISATIONS, 'activation': ACTIVATIONS, 'input_transform': CountTransform.KINDS,
        'target': CountTransform.KINDS, 'library': LIBRARIES,
    },
}))")$stdout
    told <- jsonlite::parse_json(said, simplifyVector = TRUE)
    expect_equal(as.list(scRAE:::PRESETS), told$presets)
    kinds <- sub("^tuple.*int, ...\\]", "widths", unlist(told$settings))
    kinds <- sub(" | None", "?", sub("^Mapping.*", "options", kinds), fixed = TRUE)
    expect_equal(scRAE:::SETTINGS, kinds)
    expect_equal(
        lapply(scRAE:::REGULARISER_OPTIONS, sort), lapply(told$options, as.character)[names(scRAE:::REGULARISER_OPTIONS)]
    )
    expect_setequal(names(scRAE:::REGULARISER_OPTIONS), names(told$options))
    for (name in names(told$values)) expect_setequal(scRAE:::SETTING_VALUES[[name]], told$values[[name]])
    least <- unlist(told$least)
    expect_equal(scRAE:::SETTING_LEAST, least[names(scRAE:::SETTING_LEAST)])
    expect_setequal(c(names(scRAE:::SETTING_LEAST), "max_epochs"), names(least))
})

test_that("arguments of other packages are met with the name that they have here", {
    counts <- made_counts()
    sce <- made_sce()
    refused(RunSCRAE(sce, exprs_values = "counts"), "no argument 'exprs_values'; did you mean 'assay.type'")
    refused(RunSCRAE(sce, dimred = "PCA"), "did you mean 'name'")
    refused(RunSCRAE(sce, ncomponents = 5), "did you mean 'n.latent'")
    refused(RunSCRAE(counts, npcs = 5), "did you mean 'n.latent'")
    refused(RunSCRAE(counts, n = 5), "did you mean 'n.features'")
    refused(RunSCRAE(counts, nfeatures = 5), "did you mean 'n.features'")
    refused(RunSCRAE(counts, dims = 1:10), "FindNeighbors\\(object")
    refused(RunSCRAE(counts, pc.use = 1:10), "FindNeighbors\\(object")
    refused(RunSCRAE(counts, k = 3), "level = ")
    refused(RunSCRAE(counts, group.by = "x"), "no argument 'group.by'; did you mean 'group.by.vars'")
    refused(SelectGenes(counts, nfeatures = 5), "did you mean 'n'")
    refused(FindMarkersSCRAE(sce, "batch", min.pct = 0.1), "a row for every gene")
    refused(PredictSCRAE(counts, reference = trained()), "did you mean 'model'")
    refused(LabelSCRAE(sce, cell_type = "batch"), "did you mean 'labels'")
    refused(SampleSCRAE(trained(), n = 3, seed = 1), "did you mean 'seed.use'")
    skip_unless_installed("SeuratObject")
    object <- pbmc_small()
    refused(RunSCRAE(object, slot = "counts"), "no argument 'slot'; did you mean 'layer'")
    refused(RunSCRAE(object, reduction = "x"), "did you mean 'reduction.name'")
    refused(RunSCRAE(object, assay = c("RNA", "ADT")), "assay must be one name, not c\\(\"RNA\", \"ADT\"\\)")
})

test_that("names of arguments are not cut short, nor given twice", {
    counts <- made_counts()
    refused(RunSCRAE(counts, feat = "all"), "no argument 'feat'; did you mean 'features'.*not cut short")
    refused(RunSCRAE(counts, n.feat = 5), "did you mean 'n.features'")
    forwarded <- function(...) RunSCRAE(counts, ...)
    refused(forwarded(feat = "all"), "did you mean 'features'")
    refused(do.call(RunSCRAE, list(counts, feat = "all")), "did you mean 'features'")
    refused(SampleSCRAE(trained(), n = 3, co = "prior"), "did you mean 'codes'")
    refused(RunSCRAE(counts, n_latent = 2, n_latent = 3), "'n_latent' is given twice")
})

test_that("features that choose no genes are refused with what they were taken for", {
    counts <- made_counts()
    refused(RunSCRAE(counts, features = character()), "features names no gene")
    refused(RunSCRAE(counts, features = 5), "the position of one gene. n.features = 5")
    refused(RunSCRAE(counts, features = NA), "1 missing value")
    refused(RunSCRAE(counts, features = c("gene1", NA)), "1 missing value among 2")
    refused(RunSCRAE(counts, features = TRUE), "no mask of genes")
    refused(RunSCRAE(counts, features = "gene3"), "names one gene, 'gene3'")
    refused(RunSCRAE(counts, features = factor("gene3")), "names one gene, 'gene3'")
    refused(RunSCRAE(counts, features = "GENE3"), "'GENE3' is there as 'gene3'")
    refused(RunSCRAE(counts, features = list("gene3")), "not list")
    refused(RunSCRAE(counts, features = c(1.5, 2)), "positions from 1 to 30")
    refused(RunSCRAE(counts, features = c(FALSE, TRUE, rep(FALSE, 28))), "chooses 1 gene")
    refused(StabilitySCRAE(counts, features = 5), "the position of one gene")
    refused(RunSCRAE(loaded_sce, subset_row = c(-1, 2)), "all but some")
    source <- scRAE:::matrix_source(counts)
    expect_equal(scRAE:::gene_positions(-(1:25), source), 26:30)
})

test_that("names that cannot be names are refused", {
    sce <- made_sce()
    refused(RunSCRAE(sce, name = c("A", "B")), "name must be one name, not c\\(\"A\", \"B\"\\)")
    refused(RunSCRAE(sce, name = NULL), "name must be one name, not NULL")
    refused(RunSCRAE(sce, name = NA_character_), "name must be one name")
    refused(RunSCRAE(sce, name = 3), "name must be one name, not 3")
    refused(FindOutliersSCRAE(sce, trained(), name = ""), "name must be one name, not \"\"")
    refused(ClusterSCRAE(sce, name = c("A", "B")), "name must be one name")
    skip_unless_installed("SeuratObject")
    refused(RunSCRAE(pbmc_small(), reduction.name = NULL), "reduction.name must be one name, not NULL")
    refused(RunSCRAE(pbmc_small(), reduction.key = NULL), "reduction.key must be one name")
    refused(DenoiseSCRAE(pbmc_small(), trained(), assay.name = c("A", "B")), "assay.name must be one name")
})

test_that("settings are judged by kind, value and preset", {
    counts <- made_counts()
    refused(RunSCRAE(counts, likelihood = "zinbb"), "likelihood = \"zinbb\" is not known. Choose one of")
    refused(RunSCRAE(counts, likelihood = NA), "likelihood must be a name")
    refused(RunSCRAE(counts, mask_rate = "high"), "mask.rate must be one number")
    refused(RunSCRAE(counts, early_stopping = 1), "early.stopping must be TRUE or FALSE")
    refused(RunSCRAE(counts, n_hidden = c(64, 0)), "n.hidden must be the width of a layer or several")
    refused(RunSCRAE(counts, batch_size = 1), "batch.size must be a whole number of at least 2")
    refused(RunSCRAE(counts, batch_size = NULL), "batch.size must be one number, not NULL")
    refused(RunSCRAE(counts, n_clusters = 3), "'n.clusters' of preset \"default\": it is one of 'scdeepcluster', 'sczidesk'")
    refused(RunSCRAE(counts, preset = "scvii"), "preset = \"scvii\" is not known")
    refused(RunSCRAE(counts, preset = c("ae", "dca")), "preset must be one name")
    refused(RunSCRAE(counts, device = "gpu"), "device = \"gpu\" is not known")
    refused(RunSCRAE(counts, verbose = NA), "verbose must be TRUE or FALSE")
    refused(RunSCRAE(counts, in_process = "yes"), "in.process must be TRUE or FALSE")
    refused(RunSCRAE(counts, features = "all", n_latent = 31), "more dimensions than there are genes \\(30\\)")
    expect_equal(scRAE:::known_preset("scVI"), "scvi")
    expect_equal(scRAE:::known_preset("beta-VAE"), "beta_vae")
    expect_equal(scRAE:::known_method("m3drop"), "M3Drop")
    expect_equal(scRAE:::known_method("SEURAT_V3"), "seurat_v3")
    expect_equal(scRAE:::known_settings(list(likelihood = "ZINB", patience = NULL), "default"),
        list(likelihood = "zinb", patience = NULL)
    )
    expect_equal(scRAE:::known_level("Broad"), "broad")
})

test_that("presets, methods and codes are known whatever their case", {
    fit <- attr(quick(made_counts(), features = "HVG", n.features = 20, preset = "Beta-VAE"), "scrae")
    expect_equal(fit$parameters$preset, "beta_vae")
    expect_equal(length(fit$genes), 20L)
    cells <- SampleSCRAE(trained(), n = 4, codes = "Prior", verbose = FALSE)
    expect_identical(cells, SampleSCRAE(trained(), n = 4, codes = "prior", verbose = FALSE))
})

test_that("without a seed one is drawn, which gives the same again", {
    counts <- made_counts() # which sets a seed of its own
    set.seed(5)
    first <- quick(counts, features = "all", seed.use = NULL)
    seed <- attr(first, "scrae")$parameters$random_state
    set.seed(5)
    expect_equal(scRAE:::known_seed(NULL), seed)
    expect_false(seed == scRAE:::known_seed(NULL))
    expect_identical(quick(made_counts(), features = "all", seed.use = seed)[, ], first[, ])
    refused(RunSCRAE(made_counts(), seed.use = 1e11), "at most 2,147,483,647")
    skip_unless_installed("SeuratObject")
    object <- quick(pbmc_small(), seed.use = NULL)
    command <- object@commands[["RunSCRAE.RNA"]]
    expect_equal(command@params$seed.use, object[["scrae"]]@misc$parameters$random_state)
})

test_that("what explains nothing is refused", {
    counts <- made_counts()
    cells <- data.frame(one = rep("a", 60), same = 2, two = rep(c("a", "b"), 30))
    refused(RunSCRAE(counts, meta.data = cells, group.by.vars = "one"), "column 'one' is \"a\" in all 60 cells.*group.by.vars")
    refused(RunSCRAE(counts, meta.data = cells, vars.to.regress = "same"), "column 'same' is 2 in all 60 cells.*vars.to.regress")
    cells$both <- rep(1:2, 30)
    refused(
        RunSCRAE(counts, meta.data = cells, group.by.vars = "both", vars.to.regress = "both"),
        "named in group.by.vars and in vars.to.regress"
    )
    refused(RunSCRAE(counts, meta.data = cells, group.by.vars = NA_character_), "missing name of a column")
})

test_that("questions that a model cannot answer are refused before it is asked", {
    counts <- made_counts()
    cells <- data.frame(donor = rep(c("a", "b"), 30), type = rep(c("x", "y", "y"), 20))
    model <- quick(counts, features = "all", meta.data = cells, group.by.vars = "donor")
    trained() # which needs Python the first time
    refused(DenoiseSCRAE(counts, trained(), batch = "a"), "trained without group.by.vars")
    refused(DenoiseSCRAE(counts, model, meta.data = cells, batch = "c"), "no batch 'c'")
    refused(SampleSCRAE(model, n = 3, batch = "c"), "no batch 'c'")
    refused(DenoiseSCRAE(counts, trained(), library.size = "mean"), "library.size is \"common\", \"observed\" or a number above 0, not \"mean\"")
    refused(DenoiseSCRAE(counts[-1, ], trained()), "1 of the model's 30 genes is not in the matrix \\('gene1'\\)")
    refused(FindOutliersSCRAE(counts[-1, ], trained()), "1 of the model's 30 genes")
    refused(SampleSCRAE(trained(), n = 3, like = counts[-1, ]), "1 of the model's 30 genes")
    refused(SampleReportSCRAE(counts[-1, ], trained()), "1 of the model's 30 genes")
    refused(FindMarkersSCRAE(counts, "type", "z", model = trained(), meta.data = cells), "has no group 'z'")
    refused(FindMarkersSCRAE(counts, "type", "x", "z", model = trained(), meta.data = cells), "has no group 'z'")
    refused(LabelSCRAE(counts, rep("x", 60), trained()), "one type only \\('x', 60 cells\\)")
    refused(LabelSCRAE(counts, rep(NA, 60), trained()), "no labelled cell")
})

test_that("a training goes on only where there is something to go on from", {
    counts <- made_counts()
    refused(RunSCRAE(counts, resume = TRUE), "name it with model.dir")
    refused(RunSCRAE(counts, resume = TRUE, model.dir = tempfile()), "no checkpoint in '.*' to go on from")
    refused(RunSCRAE(counts, resume = NA), "resume must be TRUE or FALSE")
    refused(RunSCRAE(counts, model.dir = c("a", "b")), "model.dir must be one name")
})

test_that("blank labels are none, and unknown cells may have none", {
    counts <- made_counts(30, 100)
    types <- rep(c("B", "T"), each = 50)
    known <- ifelse(seq_len(100) %% 2 == 0, types, rep(c("", "  ", NA), length.out = 100))
    model <- quick(counts, features = "all")
    expect_message(
        labelled <- LabelSCRAE(counts, known, model, unlabeled = NA, unknown.rate = 0.5, verbose = TRUE),
        "of 100 cells have a blank label, which counts as none"
    )
    expect_equal(levels(labelled$label), c("B", "T"))
    expect_true(anyNA(labelled$label))
    named <- LabelSCRAE(counts, known, model, unknown.rate = 0.5, verbose = FALSE)
    expect_identical(is.na(labelled$label), named$label == "Unknown")
    mapped <- PredictSCRAE(counts, labelled, unlabeled = NA, unknown.rate = 0.5, verbose = FALSE)
    expect_equal(attr(mapped, "labels")$label, labelled$label)
    refused(LabelSCRAE(counts, known, model, unlabeled = c("a", "b")), "unlabeled must be one value")
    refused(LabelSCRAE(counts, known, model, unknown.rate = 2), "unknown.rate must be at least 0 and below 1")
})

test_that("assays and experiments are taken by their numbers, as elsewhere in Bioconductor", {
    sce <- made_sce()
    SingleCellExperiment::altExp(sce, "ADT") <- made_sce(12)
    SummarizedExperiment::assay(sce, "logcounts") <- log1p(made_counts())
    expect_equal(scRAE:::sce_source(sce, 1)$parts[[1]], made_counts())
    expect_equal(scRAE:::sce_source(sce, "counts", 1)$genes, paste0("gene", 1:12))
    refused(RunSCRAE(sce, assay.type = 3), "assay.type = 3: there are 2 entries")
    refused(RunSCRAE(sce, altexp = 2), "altexp = 2: there is 1 entry")
    expect_error(RunSCRAE(sce, assay.type = 2, features = "all"), "does not hold raw counts")
    nameless <- SingleCellExperiment::SingleCellExperiment(list(made_counts()))
    expect_equal(scRAE:::sce_source(nameless, 1)$parts[[1]], made_counts())
})

test_that("genes are found through what Seurat and Ensembl make of their names", {
    match_genes <- scRAE:::match_genes
    known <- c("HLA-A", "MT-CO1", "CD3D", "ENSG00000141510.18", "ENSMUSG00000059552")
    expect_equal(match_genes(c("HLA_A", "MT|CO1", "CD3D"), known), 1:3)
    expect_equal(match_genes(c("ENSG00000141510", "ENSMUSG00000059552.14", "ENSG00000141511"), known), c(4L, 5L, NA))
    # Two names for one gene, or two genes for one name, leave a doubt.
    expect_equal(match_genes(c("A-B", "A_B"), c("A-B", "C")), c(1L, NA))
    expect_equal(match_genes("A_B", c("A-B", "A|B")), NA_integer_)
    expect_equal(match_genes("ENSG1", c("ENSG1.1", "ENSG1.2")), NA_integer_)
    counts <- made_counts()
    refused(RunSCRAE(counts, features = c("GENE1", "GENE2")), "'GENE1' is there as 'gene1': capitals count")
    refused(RunSCRAE(counts, features = c("cell1", "cell2")), "names of cells: genes have to be the rows")
    expect_warning(
        expect_error(without_python(quick(counts, features = c("gene1", "gene2", "gene4", "Gene3"))), "no Python"),
        "'Gene3' is there as 'gene3'"
    )
})
