# Objects of other packages: those that are SingleCellExperiments work, others are refused with what to type.

GENERICS <- c(
    "BatchReportSCRAE", "RunSCRAE", "ClusterSCRAE", "CrossValidateSCRAE", "DenoiseSCRAE", "FindMarkersSCRAE", "FindOutliersSCRAE",
    "LabelSCRAE", "NeighborsSCRAE", "PredictSCRAE", "ReportSCRAE", "SampleReportSCRAE", "SelectGenes", "StabilitySCRAE"
)

refused_by_all <- function(object, regexp) {
    force(object)
    for (name in GENERICS) {
        took <- system.time(
            expect_error(getExportedValue("scRAE", name)(object), regexp, class = "scrae_other_object", info = name)
        )
        expect_lt(took[["user.self"]] + took[["sys.self"]], 1)
    }
}

test_that("these are all generics", {
    exported <- getNamespaceExports("scRAE")
    is_generic <- vapply(exported, function(name) {
        any(grepl("UseMethod", deparse(body(getExportedValue("scRAE", name)))))
    }, TRUE)
    expect_setequal(exported[is_generic], GENERICS)
})

test_that("an AnnData of anndataR is refused, though it has dimensions", {
    skip_unless_installed("R6")
    # The class vector and the methods of anndataR 0.99, which needs R 4.5.
    abstract <- R6::R6Class("AbstractAnnData", public = list(
        X = matrix(1, 3, 2), as_SingleCellExperiment = function() NULL, as_Seurat = function() NULL
    ))
    in_memory <- R6::R6Class("InMemoryAnnData", inherit = abstract)
    assign("dim.AbstractAnnData", function(x) dim(x$X), envir = globalenv())
    on.exit(rm("dim.AbstractAnnData", envir = globalenv()))
    object <- in_memory$new()
    expect_equal(dim(object), c(3L, 2L))
    refused_by_all(object, "class 'InMemoryAnnData': object <- object\\$as_SingleCellExperiment\\(\\)")
    refused_by_all(
        structure(list(), class = c("AnnDataR6", "R6")), "zellkonverter::AnnData2SCE\\(object\\)"
    )
})

test_that("several assays in one object are refused by name, and one of them works", {
    refused_by_all(
        structure(list(rna = 1, adt = 2), class = "MuData"),
        "it holds several \\('rna', 'adt'\\). Give the one with the counts of genes, such as object\\[\\[\"rna\"\\]\\]"
    )
    skip_unless_installed("MultiAssayExperiment")
    sce <- made_sce()
    adt <- matrix(1, 2, ncol(sce), dimnames = list(c("p1", "p2"), colnames(sce)))
    object <- suppressMessages(MultiAssayExperiment::MultiAssayExperiment(list(RNA = sce, ADT = adt)))
    refused_by_all(object, "MultiAssayExperiment': it holds several \\('RNA', 'ADT'\\)")
    expect_true("SCRAE" %in% SingleCellExperiment::reducedDimNames(quick(object[["RNA"]], features = "all")))
})

test_that("a SummarizedExperiment, a list, a path and a part of a Seurat object are refused with what to type", {
    se <- SummarizedExperiment::SummarizedExperiment(list(counts = made_counts()))
    refused_by_all(se, "no place for an embedding and its model.*as\\(object, \"SingleCellExperiment\"\\)")
    refused_by_all(list(made_sce(), made_sce()), "class 'list': give the objects in it one by one")
    refused_by_all("cells.h5ad", "class 'character': read the file first")
    refused_by_all(pbmc_small()[["RNA"]], "give the Seurat object that it is a part of")
    refused_by_all(1:10, "takes a Seurat object, a SingleCellExperiment or a matrix of counts.*class 'integer'$")
})

# What SpatialExperiment adds: images in int_metadata, places in int_colData. Where the package is installed, its own.
spatial <- function(sce) {
    places <- matrix(seq_len(2 * ncol(sce)), ncol(sce), dimnames = list(colnames(sce), c("x", "y")))
    if (requireNamespace("SpatialExperiment", quietly = TRUE)) {
        return(SpatialExperiment::SpatialExperiment(
            assays = list(counts = SingleCellExperiment::counts(sce)), colData = SummarizedExperiment::colData(sce),
            spatialCoords = places
        ))
    }
    methods::setClass("SpatialExperiment", contains = "SingleCellExperiment", where = globalenv())
    object <- methods::as(sce, "SpatialExperiment")
    held <- SingleCellExperiment::int_colData(object)
    held$spatialCoords <- places
    SingleCellExperiment::`int_colData<-`(object, value = held)
}

test_that("a SpatialExperiment works as the SingleCellExperiment that it is, and keeps its places", {
    object <- spatial(made_sce())
    places <- function(x) SingleCellExperiment::int_colData(x)$spatialCoords
    trained <- quick(object, features = "all")
    expect_s4_class(trained, "SpatialExperiment")
    expect_equal(places(trained), places(object))
    expect_equal(
        SingleCellExperiment::reducedDim(trained, "SCRAE"),
        SingleCellExperiment::reducedDim(quick(made_sce(), features = "all"), "SCRAE")
    )
    scored <- FindOutliersSCRAE(trained, verbose = FALSE, threads = 1)
    expect_equal(places(scored), places(object))
    expect_equal(nrow(FindMarkersSCRAE(scored, "batch", ident.1 = "a", verbose = FALSE, threads = 1)), 30L)
    mapped <- PredictSCRAE(object[, 1:20], model = trained, verbose = FALSE, threads = 1)
    expect_equal(places(mapped), places(object)[1:20, ])
    if (exists("SpatialExperiment", globalenv())) methods::removeClass("SpatialExperiment", where = globalenv())
})
