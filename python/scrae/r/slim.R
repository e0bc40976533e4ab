# Leaves of a SingleCellExperiment what anndata2ri converts faithfully: one named
# sparse assay, plain columns, no metadata. Integers and logicals with NA would
# arrive as numbers, ordered factors and dates in another form: they become text.
function(sce, assay) {
    counts <- SummarizedExperiment::assay(sce, assay)
    if (is.data.frame(counts)) counts <- as.matrix(counts)
    if (methods::is(counts, "DelayedMatrix")) counts <- methods::as(counts, "dgCMatrix")
    for (form in c("dMatrix", "generalMatrix", "CsparseMatrix")) counts <- methods::as(counts, form)
    if (is.null(rownames(counts))) rownames(counts) <- paste0("gene", seq_len(nrow(counts)))
    if (is.null(colnames(counts))) colnames(counts) <- paste0("cell", seq_len(ncol(counts)))
    columns <- lapply(as.list(SummarizedExperiment::colData(sce)), function(column) {
        if (is.null(dim(column)) && methods::is(column, "Rle")) column <- as.vector(column)
        if (is.factor(column) && !is.ordered(column)) {
            return(column)
        }
        if (is.character(column) || (is.numeric(column) && !is.object(column) && !anyNA(column))) {
            return(column)
        }
        if (is.double(column) && !is.object(column)) {
            return(column)
        }
        if (is.atomic(column) && is.null(dim(column))) {
            return(as.character(column))
        }
        NULL
    })
    columns <- columns[!vapply(columns, is.null, NA)]
    frame <- S4Vectors::DataFrame(row.names = colnames(counts))
    for (name in names(columns)) frame[[name]] <- columns[[name]]
    SingleCellExperiment::SingleCellExperiment(list(counts = counts), colData = frame)
}
