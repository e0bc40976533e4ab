#' Draw clusters, their tree, and how stable they are
#'
#' Three panels: the cells by cluster, the tree that was cut into clusters, and how
#' well each cluster is found again when a fifth of the cells is left out.
#'
#' @param object What [ClusterSCRAE()] returned: a Seurat object or a
#'   SingleCellExperiment.
#' @param col.name Name of the column with the clusters; NULL: the last that were
#'   found.
#' @param reduction Name of the reduction that the cells are drawn in; NULL:
#'   `"umap"` where it is, in capitals or not, else the first two axes of the
#'   embedding.
#' @return Three plots of ggplot2, put together by patchwork. Left: the cells.
#'   Middle: the tree of the clusters, with their numbers of cells; groups that
#'   join left of the dotted line would be one cluster. Right: the stability of
#'   each cluster; above the dotted line it may be called stable.
#' @seealso [ClusterSCRAE()]
#' @examples
#' if (SCRAEStatus(verbose = FALSE)$ready &&
#'     requireNamespace("patchwork", quietly = TRUE)) {
#'     pbmc <- RunSCRAE(PBMCExample(), features = "all", n.latent = 5,
#'         max.epochs = 2, verbose = FALSE)
#'     plotClustersSCRAE(ClusterSCRAE(pbmc, verbose = FALSE))
#' }
#' @export
plotClustersSCRAE <- function(object, col.name = NULL, reduction = NULL) {
    need_package("patchwork", "plotClustersSCRAE()",
        'install.packages("patchwork")'
    )
    found <- clusters_of(object, col.name)
    axes <- drawn_axes(object, found$told$params$embedding, reduction)
    clusters <- found$clusters
    # A reduction may have some of the cells of a Seurat object.
    if (inherits(object, "Seurat")) {
        clusters <- clusters[match(rownames(axes), colnames(object))]
    }
    axes <- axes[!is.na(clusters), , drop = FALSE]
    clusters <- clusters[!is.na(clusters)]
    names <- levels(clusters)
    # Neighbours differ in lightness, too.
    colours <- stats::setNames(
        grDevices::hcl(
            seq(15, 375, length.out = length(names) + 1L)[seq_along(names)],
            c = 90, l = rep_len(c(66, 50), length(names))
        ),
        names
    )
    patchwork::wrap_plots(
        draw_clusters(axes, clusters, colours),
        draw_cluster_tree(found$told),
        draw_stability(found$told$clusters, colours),
        widths = c(2.6, 1.4, 1)
    )
}

# `clusters` (a factor) and `told` (tables) of an object.
clusters_of <- function(object, col.name) {
    seurat <- inherits(object, "Seurat")
    if (!seurat && !is(object, "SingleCellExperiment")) {
        fail(
            "plotClustersSCRAE() draws a Seurat object or a ",
            "SingleCellExperiment, not an object of class '", class(object)[1L],
            "'"
        )
    }
    told <- if (seurat) methods::slot(object, "misc") else S4Vectors::metadata(object)
    table <- if (seurat) object[[]] else SummarizedExperiment::colData(object)
    known <- intersect(names(Filter(is_clustering, told)), colnames(table))
    if (length(known) == 0L) {
        fail("the object has no clusters: call ClusterSCRAE(object) first")
    }
    column <- col.name %||% known[length(known)]
    if (!column %in% known) {
        fail("there are no clusters '", column, "'; ", hint(column, known))
    }
    told <- unique(told[names(told) == column])
    if (length(told) > 1L) {
        fail(
            "the object was put together of several that were clustered apart, and ",
            "their clusters '", column, "' are not the same: call ",
            "ClusterSCRAE(object) on all cells together"
        )
    }
    if (isTRUE(told[[1L]]$params$replaced)) {
        warning("the clusters '", column, "' are those of an embedding that was ",
            "replaced since: call ClusterSCRAE(object) for new ones",
            call. = FALSE
        )
    }
    list(clusters = table[[column]], told = told[[1L]])
}

# Two axes for each cell, a matrix with names.
drawn_axes <- function(object, name, reduction) {
    seurat <- inherits(object, "Seurat")
    known <- if (seurat) {
        names(seurat_reductions(object))
    } else {
        SingleCellExperiment::reducedDimNames(object)
    }
    umap <- known[tolower(known) == "umap"]
    reduction <- reduction %||% c(umap, name)[1L]
    if (!reduction %in% known) {
        fail("the object has no reduction '", reduction, "'; ", hint(reduction, known))
    }
    axes <- if (seurat) {
        SeuratObject::Embeddings(object, reduction)
    } else {
        as.matrix(SingleCellExperiment::reducedDim(object, reduction))
    }
    axes <- axes[, 1:2, drop = FALSE]
    colnames(axes) <- colnames(axes) %||% paste(reduction, 1:2)
    axes
}

draw_clusters <- function(axes, clusters, colours) {
    cells <- data.frame(x = axes[, 1L], y = axes[, 2L], cluster = clusters)
    middles <- stats::aggregate(cbind(x, y) ~ cluster, cells, stats::median)
    ggplot2::ggplot(cells, ggplot2::aes(.data$x, .data$y)) +
        ggplot2::geom_point(ggplot2::aes(colour = .data$cluster),
            size = min(2, max(0.3, 50 / sqrt(nrow(cells)))), stroke = 0
        ) +
        ggplot2::geom_point(
            data = middles, colour = "white", alpha = 0.7, size = 5.5, stroke = 0
        ) +
        ggplot2::geom_text(ggplot2::aes(label = .data$cluster),
            data = middles, fontface = "bold", size = 3.5
        ) +
        ggplot2::scale_colour_manual(values = colours, guide = "none") +
        ggplot2::labs(
            x = colnames(axes)[1L], y = colnames(axes)[2L],
            title = paste(
                how_many(nlevels(clusters), "cluster"), "of",
                how_many(nrow(cells), "cell")
            )
        ) +
        ggplot2::theme_classic() +
        ggplot2::theme(
            axis.text = ggplot2::element_blank(),
            axis.ticks = ggplot2::element_blank()
        )
}

FURTHEST <- 8 # separations beyond are drawn there

draw_cluster_tree <- function(told) {
    n <- nrow(told$clusters)
    lines <- tree_lines(told$tree[told$tree$kept_apart, ])
    plot <- ggplot2::ggplot() +
        ggplot2::scale_y_reverse(
            breaks = seq_len(n), expand = ggplot2::expansion(add = 0.6),
            limits = c(n, 1),
            labels = paste0(
                told$clusters$cluster, "  (",
                trimws(count(told$clusters$n_cells)), ")"
            )
        ) +
        ggplot2::labs(x = "separation", y = NULL, title = "How far apart") +
        ggplot2::theme_classic() +
        ggplot2::theme(
            axis.line.y = ggplot2::element_blank(),
            axis.ticks.y = ggplot2::element_blank()
        )
    if (n == 1L) {
        return(plot + ggplot2::expand_limits(x = c(0, told$params$separation)))
    }
    plot +
        ggplot2::geom_vline(xintercept = min(told$params$separation, FURTHEST),
            linetype = "dotted", colour = "grey40"
        ) +
        ggplot2::geom_segment(
            ggplot2::aes(.data$x, .data$y, xend = .data$xend, yend = .data$yend),
            data = lines, colour = "grey25"
        ) +
        ggplot2::scale_x_continuous(
            limits = c(0, NA), expand = ggplot2::expansion(c(0, 0.05))
        )
}

# Segments of the joins above the clusters, which stand in rows 1, 2, ... A node
# that is no join of these is a cluster; of two children the larger comes first.
tree_lines <- function(joins) {
    row <- height <- numeric()
    n_clusters <- 0
    lines <- list()
    draw <- function(node) {
        key <- as.character(node)
        join <- joins[joins$node == node, ]
        if (nrow(join) == 0L) {
            n_clusters <<- n_clusters + 1
            row[key] <<- n_clusters
            height[key] <<- 0
            return(invisible())
        }
        children <- c(join$left, join$right)
        if (join$n_right > join$n_left) children <- rev(children)
        for (child in children) draw(child)
        keys <- as.character(children)
        at <- min(join$height, FURTHEST)
        lines[[key]] <<- data.frame(
            x = unname(c(height[keys], at)),
            y = unname(row[c(keys, keys[1L])]), xend = at,
            yend = unname(row[c(keys, keys[2L])])
        )
        row[key] <<- mean(row[keys])
        height[key] <<- at
    }
    if (nrow(joins)) draw(max(joins$node))
    do.call(rbind, unname(lines))
}

draw_stability <- function(clusters, colours) {
    n <- nrow(clusters)
    clusters$row <- seq_len(n)
    ggplot2::ggplot(clusters, ggplot2::aes(.data$stability, .data$row)) +
        ggplot2::geom_col(ggplot2::aes(fill = .data$cluster),
            orientation = "y", width = 0.75
        ) +
        ggplot2::geom_vline(
            xintercept = 0.75, linetype = "dotted", colour = "grey40"
        ) +
        ggplot2::scale_fill_manual(values = colours, guide = "none") +
        ggplot2::scale_x_continuous(
            limits = c(0, 1), expand = ggplot2::expansion(c(0, 0.05))
        ) +
        ggplot2::scale_y_reverse(
            breaks = NULL, expand = ggplot2::expansion(add = 0.2)
        ) +
        ggplot2::labs(x = "stability", y = NULL, title = "Found again") +
        ggplot2::theme_classic()
}
