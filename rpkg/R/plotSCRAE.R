#' Draw the cells of an embedding
#'
#' Draws cells in two dimensions, coloured by columns of cell metadata or by genes, with
#' the functions that users of each kind of object know: `DimPlot()` and `FeaturePlot()`
#' of Seurat for a Seurat object, `plotReducedDim()` of scater for a
#' SingleCellExperiment. What can be set further is set with these, or by adding to the
#' plots.
#'
#' @param object The object that [RunSCRAE()] returned.
#' @param group.by Names of columns of cell metadata. Levels get a colour each, and
#'   numbers a colour bar. NULL: the clusters of [ClusterSCRAE()], where there are any
#'   and no features are named.
#' @param features Names of genes, whose log-normalised expression is drawn
#'   (`NormalizeData()`, `logNormCounts()`); counts where a SingleCellExperiment has
#'   nothing else.
#' @param reduction Name of the reduction to draw; NULL: `"umap"`, in capitals or not,
#'   else the first two axes of the embedding.
#' @param label Whether the name of each level is written on its cells.
#' @param ncol Plots in a row, where there are several; NULL: as patchwork has it.
#' @return A plot of ggplot2, or several, put together by patchwork.
#' @seealso [plotClustersSCRAE()], [ReportSCRAE()]
#' @examples
#' if (SCRAEStatus(verbose = FALSE)$ready &&
#'     requireNamespace("scater", quietly = TRUE)) {
#'     pbmc <- RunSCRAE(PBMCExample(), features = "all", n.latent = 5,
#'         max.epochs = 2, verbose = FALSE)
#'     plotSCRAE(pbmc, "cell_type")
#' }
#' @export
plotSCRAE <- function(object, group.by = NULL, features = NULL, reduction = NULL,
    label = TRUE, ncol = NULL) {
    seurat <- inherits(object, "Seurat")
    if (!seurat && !is(object, "SingleCellExperiment")) {
        fail(
            "plotSCRAE() draws a Seurat object or a SingleCellExperiment, not an ",
            "object of class '", class(object)[1L], "'"
        )
    }
    yes_or_no(label, "label")
    if (!is.null(ncol)) at_least(ncol, 1, "ncol")
    where <- if (seurat) "object@meta.data" else "colData(object)"
    check_column_names(group.by, "group.by", where)
    table <- if (seurat) object[[]] else SummarizedExperiment::colData(object)
    unknown <- setdiff(group.by, colnames(table))
    if (length(unknown)) {
        fail(where, " has no column '", unknown[1L], "'; ", hint(unknown[1L], colnames(table)))
    }
    refuse_unknown_genes(features, rownames(object))
    if (is.null(group.by) && is.null(features)) group.by <- newest_clusters(object, table)
    reduction <- reduction_to_draw(object, reduction)
    draw <- if (seurat) draw_seurat else draw_sce
    plots <- draw(object, group.by, features, reduction, label, table)
    if (length(plots) == 1L) {
        return(plots[[1L]])
    }
    need_package("patchwork", "several plots", 'install.packages("patchwork")')
    patchwork::wrap_plots(plots, ncol = ncol)
}

refuse_unknown_genes <- function(features, known) {
    if (!is.null(features) && !is.character(features)) {
        fail("features takes names of genes, not ", class(features)[1L])
    }
    unknown <- setdiff(features, known)
    if (length(unknown)) {
        fail("the object has no gene '", unknown[1L], "'; ", hint(unknown[1L], known))
    }
}

# The column with the clusters that were found last, or NULL.
newest_clusters <- function(object, table) {
    told <- if (inherits(object, "Seurat")) {
        methods::slot(object, "misc")
    } else {
        S4Vectors::metadata(object)
    }
    known <- intersect(names(Filter(is_clustering, told)), colnames(table))
    known[length(known)][seq_len(min(1L, length(known)))]
}

# The one that was named, a UMAP, or the embedding of the newest model.
reduction_to_draw <- function(object, reduction) {
    seurat <- inherits(object, "Seurat")
    known <- if (seurat) {
        names(seurat_reductions(object))
    } else {
        SingleCellExperiment::reducedDimNames(object)
    }
    if (is.null(reduction)) {
        umap <- known[tolower(known) == "umap"]
        return(if (length(umap)) umap[1L] else fit_name(object))
    }
    a_name(reduction, "reduction")
    if (reduction %in% known) {
        return(reduction)
    }
    embedding <- c(names(all_fits(object)), if (seurat) "scrae" else "SCRAE")[1L]
    fail(
        "the object has no reduction '", reduction, "'; ",
        if (tolower(reduction) == "umap") {
            if (seurat) {
                paste0("object <- RunUMAP(object, reduction = \"", embedding, "\", dims = 1:30) adds it")
            } else {
                paste0("object <- scater::runUMAP(object, dimred = \"", embedding, "\") adds it")
            }
        } else {
            hint(reduction, known)
        }
    )
}

draw_seurat <- function(object, group.by, features, reduction, label, table) {
    need_package("Seurat", "plotSCRAE() of a Seurat object", 'install.packages("Seurat")')
    if (length(features) && !has_logs(object)) {
        fail(
            "the object has no log-normalised expression to draw features by: object <- ",
            "NormalizeData(object)"
        )
    }
    of_numbers <- vapply(group.by, function(column) is.numeric(table[[column]]), TRUE)
    plots <- lapply(c(group.by, features), function(name) {
        if (name %in% group.by && !isTRUE(of_numbers[name])) {
            return(Seurat::DimPlot(object,
                reduction = reduction, group.by = name, label = label, repel = label
            ))
        }
        Seurat::FeaturePlot(object, features = name, reduction = reduction)
    })
    if (length(plots)) {
        return(plots)
    }
    list(Seurat::DimPlot(object, reduction = reduction))
}

# Whether an assay of version 5 has a layer with logs; older ones always have one.
has_logs <- function(object) {
    part <- object[[SeuratObject::DefaultAssay(object)]]
    if (!inherits(part, "StdAssay")) {
        return(TRUE)
    }
    any(startsWith(getExportedValue("SeuratObject", "Layers")(part), "data"))
}

draw_sce <- function(object, group.by, features, reduction, label, table) {
    need_package("scater", "plotSCRAE() of a SingleCellExperiment",
        'BiocManager::install("scater")'
    )
    known <- SummarizedExperiment::assayNames(object)
    assay <- c(intersect(c("logcounts", "counts"), known), known)[1L]
    # Not columns and genes of other names alike: scater looks for a name everywhere.
    columns <- lapply(group.by, function(column) {
        colours <- stats::setNames(data.frame(table[[column]]), column)
        on_cells <- label && !is.numeric(table[[column]])
        scater::plotReducedDim(object, reduction,
            colour_by = colours,
            text_by = if (on_cells) stats::setNames(data.frame(as.factor(table[[column]])), column)
        )
    })
    genes <- lapply(features, function(gene) {
        values <- SummarizedExperiment::assay(object, assay, withDimnames = FALSE)
        expression <- as.numeric(values[match(gene, rownames(object)), ])
        colours <- stats::setNames(data.frame(expression), gene)
        scater::plotReducedDim(object, reduction, colour_by = colours)
    })
    plots <- c(columns, genes)
    if (length(plots)) plots else list(scater::plotReducedDim(object, reduction))
}
