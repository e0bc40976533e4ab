# Objects of other kinds, and how each becomes one that scRAE takes.

TAKEN <- "a Seurat object, a SingleCellExperiment or a matrix of counts, genes x cells"
OF_SEURAT <- c("Assay", "StdAssay", "DimReduc")
OF_ANNDATA <- c("AbstractAnnData", "AnnDataR6", "AnnData", "anndata._core.anndata.AnnData")

#' Refuse an object that is none of those taken
#'
#' Called by the generics, before anything else is looked at. A SpatialExperiment, a
#' cell_data_set and others that are SingleCellExperiments are taken as such.
#' @noRd
refuse_other_objects <- function(object) {
    kind <- kind_of(object)
    if (kind == "SummarizedExperiment") {
        fail(
            "a SummarizedExperiment has no place for an embedding and its model; make ",
            "it a SingleCellExperiment first: object <- as(object, ",
            "\"SingleCellExperiment\")",
            class = "scrae_other_object"
        )
    }
    if (kind != "default") {
        return(invisible())
    }
    cure <- how_it_becomes_one(object)
    if (is.null(cure) && length(dim(object)) == 2L) {
        return(invisible())
    }
    fail(
        "scRAE takes ", TAKEN, ", not an object of class '", class(object)[1L], "'",
        if (!is.null(cure)) paste0(": ", cure),
        class = "scrae_other_object"
    )
}

# What to type, or NULL where nobody knows.
how_it_becomes_one <- function(object) {
    if (inherits(object, "AbstractAnnData")) {
        return("object <- object$as_SingleCellExperiment(), or object$as_Seurat()")
    }
    if (inherits(object, OF_ANNDATA)) {
        return("object <- zellkonverter::AnnData2SCE(object)")
    }
    if (is(object, "MultiAssayExperiment") || any(grepl("MuData$", class(object)))) {
        names <- tryCatch(as.character(names(object)), error = function(condition) character())
        return(paste0(
            "it holds several",
            if (length(names)) paste0(" (", quoted(names), ")"),
            ". Give the one with the counts of genes",
            if (length(names)) paste0(", such as object[[\"", names[1L], "\"]]")
        ))
    }
    if (is(object, "ExpressionSet")) {
        return("give its counts: Biobase::exprs(object)")
    }
    if (inherits(object, OF_SEURAT)) {
        return("give the Seurat object that it is a part of, and assay = its name")
    }
    if (is.character(object) && length(object) == 1L) {
        return(paste0(
            "read the file first, for example with Seurat::Read10X(), ",
            "zellkonverter::readH5AD() or anndataR::read_h5ad()"
        ))
    }
    if (is.list(object) && !is.data.frame(object)) {
        return("give the objects in it one by one, or merged into one")
    }
}
