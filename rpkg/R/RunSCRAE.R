#' Train scRAE and add its embedding
#'
#' Trains a masked, contrastive autoencoder on raw counts and returns the object
#' with the embedding in it. Cells keep their order and names; nothing else in the
#' object changes.
#'
#' The work is done by Python in a process of its own, and its progress is shown
#' here. Ctrl-C ends training early and returns the best model so far. Whatever
#' happens to that process, the session and the object are safe. It stays for the
#' next call ([StopSCRAE()] ends it). Before the first use type [InstallSCRAE()].
#'
#' The same counts, genes (in the order of the object), seed and number of
#' threads give the same numbers to the last bit, in R and in Python.
#'
#' @section Which genes:
#' `features` is a method (see [SelectGenes()]): `"HVG"`, `"seurat_v3"`, `"M3Drop"`,
#' `"DANB"`, `"SCMarker"`; or `"all"`; or gene names. NULL takes the
#' `VariableFeatures()` of a Seurat object where they are set, `subset_row` of a
#' SingleCellExperiment where it is given, and `"HVG"` otherwise. The model always
#' sees the genes in the order of the object.
#'
#' @section Which model:
#' `preset` is `"default"` or `"reference"` (scRAE as published), or one of: `"ae"`
#' (plain autoencoder), `"dca"`, `"aae"` and `"wae"` (critic against a fixed prior),
#' `"wae_mmd"`, `"beta_vae"`, `"beta_vsc"`, `"scvi"`, `"scvae"` and `"scvae_gm"`
#' (normal and mixture prior), `"dr_a"`, `"saucie"`, `"scdeepcluster"`, `"sczidesk"`,
#' `"scdcc"`, `"contrastive_sc"`, `"vasc"`. Each is the model as published, with its
#' own `n.latent` and number of epochs; any setting of it is changed by naming it.
#' `help("scRAE-presets")` has the table. `"scdeepcluster"`, `"scdcc"` and
#' `"sczidesk"` cluster while they train: `n.clusters` is given, or estimated from the
#' codes without labels, and the clusters become the column `scrae_clusters` of the
#' cell metadata (named after `reduction.name` or `name`; for a matrix the attribute
#' `"clusters"` of the embedding). The column is removed when another model takes that
#' name.
#'
#' @section How many axes:
#' By default the embedding has 30 axes. **Use all of them for neighbour graphs**:
#' `FindNeighbors(reduction = "scrae", dims = 1:30)`. The first `n.latent`, 10, carry
#' most of the differences between types and are enough for k-means. The further 20
#' carry what the first leave over, and neighbour graphs cluster better with them.
#' These 20 have the same spread, so an `ElbowPlot()` is level from the 11th axis on.
#' `n.residual` sets their number. There are none if `n.latent` is below 10, and none
#' in the published models of other groups.
#'
#' @section What is kept:
#' Seurat: a reduction with standard deviations (for `ElbowPlot()`), and in its
#' `misc` slot `history` (data.frame of losses per epoch), `summary` (stop
#' reason, seconds, versions, ...), `parameters`, `genes` and the trained
#' `model`. SingleCellExperiment: the same as `metadata(object)[[name]]`. Matrix:
#' the same as the attribute `"scrae"` of the embedding. The model is stored as
#' the bytes of its files, so it survives `saveRDS()`; see [SaveSCRAE()].
#'
#' @param object Seurat object (version 3 to 5; split layers and on-disk layers
#'   too), SingleCellExperiment, or a matrix of raw counts, genes x cells: dense,
#'   sparse (Matrix) or on disk (DelayedArray, HDF5Array, BPCells), which is read
#'   in blocks.
#' @param features Genes to model, see below.
#' @param n.features How many genes a method selects.
#' @param group.by.vars Names of columns of cell metadata, such as the donor. The
#'   decoder explains their effect, and Harmony removes it from the embedding. The
#'   first is the batch: genes are selected within its levels as well.
#' @param vars.to.regress Names of numeric columns to correct for (a cell-cycle score,
#'   the share of mitochondrial counts). The decoder explains their effect, and a
#'   straight line along each, the same in all cell types, is removed from the
#'   embedding.
#' @param keep Names of columns whose differences stay in the embedding, such as the
#'   condition of the donors in `group.by.vars`: batches are corrected among the cells
#'   that agree in these columns.
#' @param n.latent First axes of the embedding; NULL: those of the preset,
#'   10 by default.
#' @param max.epochs Largest number of passes over the cells; NULL: as many as give
#'   `n.steps` minibatches, 1,000 by default, but ten passes or more.
#'   `n.steps = 400` is enough for a first look, with four passes or more.
#' @param seed.use Seed; NULL: a seed is drawn from R's random numbers and kept with
#'   the result (`parameters$random_state`), so that the run can be repeated.
#' @param verbose Show progress and messages.
#' @param assay Assay with raw counts; NULL: the default assay. For an SCTransform
#'   assay the raw counts that it was made from are used.
#' @param layer Layer (Seurat v5) or slot with raw counts.
#' @param reduction.name,reduction.key Name and key of the new reduction.
#' @param assay.type Assay with raw counts.
#' @param subset_row Genes to model: names, positions or a logical mask.
#' @param altexp Name of the alternative experiment to take the counts from;
#'   NULL: the main one.
#' @param name Name of the new entry of `reducedDims()`.
#' @param meta.data data.frame with a row per cell, for `group.by.vars`,
#'   `vars.to.regress` and `keep`.
#' @param model.dir Folder for the model and checkpoints while training.
#' @param resume Continue from the checkpoint in `model.dir`; needs the same data and
#'   settings.
#' @param round.counts Round estimated counts (SoupX, DecontX, CellBender, RSEM,
#'   salmon, alevin) to whole ones for the model; a warning says how many values
#'   that moved, and by how much at most. FALSE: they are refused.
#' @param overwrite Replace the model in `model.dir` even if it was trained on other
#'   data, with other settings or with another seed.
#' @param must.link,cannot.link Pairs of cells of one type, and of different types, as
#'   far as they are known: a data.frame or matrix of two columns with names of cells (numbers
#'   of columns for a matrix without names). The model draws the codes of the first together and those of the
#'   second apart (see `must.link.weight` and `cannot.link.weight`), and turns the
#'   embedding towards directions in which the first differ little.
#' @param labels Name of the column of cell metadata with the types of some cells (for
#'   a matrix one value per cell), from which such pairs are made: ten for each
#'   labelled cell. [LabelSCRAE()] learns the types themselves.
#' @param unlabeled The entry of cells without a label, as in [LabelSCRAE()].
#' @param preset `"default"`, `"reference"` for the published code, or another
#'   model of the field, see `help("scRAE-presets")`.
#' @param ... `.options`, a [SCRAEOptions()]; or what can stand in it: `device`
#'   (`"auto"`, `"cpu"`, `"cuda"`), `threads` (of torch),
#'   `in.process = TRUE` (Python inside this session through reticulate 1.31 or
#'   newer, without a worker; see [InstallSCRAE()] for the modules that it finds)
#'   and any setting of the Python model: `n.hidden = c(256, 128)`,
#'   `batch.size`, `mask.rate`, `learning.rate`, `likelihood`, ... [SCRAEOptions()] also
#'   says how arguments are called.
#' @return Seurat, SingleCellExperiment: the object with the embedding. Matrix:
#'   the embedding, a matrix of cells x axes, 30 by default.
#' @section Errors:
#' No raw counts (normalised, scaled, negative, missing values), cells without
#' any count, unknown genes, columns, assays or arguments: each says what is
#' wrong, where, how often, and what to do. An error of class
#' `scrae_worker_died` carries the last words of the Python process.
#' @references Mondal AK and others (2021) \doi{10.1109/TCBB.2021.3098394}
#' @seealso [ClusterSCRAE()], [PredictSCRAE()], [LabelSCRAE()], [FindMarkersSCRAE()],
#'   [FindOutliersSCRAE()], [DenoiseSCRAE()], [SampleSCRAE()],
#'   [plotSCRAEHistory()], [SaveSCRAE()]
#' @examples
#' if (SCRAEStatus(verbose = FALSE)$ready &&
#'     requireNamespace("SeuratObject", quietly = TRUE)) {
#'     data("pbmc_small", package = "SeuratObject")
#'     pbmc_small <- RunSCRAE(pbmc_small, features = "all", n.latent = 5,
#'         max.epochs = 2, verbose = FALSE)
#'     pbmc_small[["scrae"]]
#'     SeuratObject::Misc(pbmc_small[["scrae"]])$model
#' }
#' @export
RunSCRAE <- function(object, ...) {
    call <- check_arguments("RunSCRAE", object, match.call(expand.dots = FALSE))
    if (!is.null(call)) {
        return(eval(call))
    }
    UseMethod("RunSCRAE")
}
