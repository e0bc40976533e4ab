#' Plot how a training went
#'
#' Two panels by epoch: how well training and held-out cells are reconstructed, and the
#' distance between codes and prior. Training stops when the held-out cells are no longer
#' explained any better.
#'
#' @param object What [RunSCRAE()] returned.
#' @param name Name of the reduction, where there are several.
#' @return A ggplot: the reconstruction loss of training and held-out cells (nats
#'   per cell) and the critic's estimate of the distance between codes and prior,
#'   by epoch. The dashed line is the epoch whose weights were kept.
#' @examples
#' counts <- matrix(rpois(40 * 30, 2), 30, 40)
#' if (SCRAEStatus(verbose = FALSE)$ready) {
#'     embedding <- RunSCRAE(counts, features = "all", n.latent = 2,
#'         max.epochs = 3, verbose = FALSE)
#'     plotSCRAEHistory(embedding)
#' }
#' @export
plotSCRAEHistory <- function(object, name = NULL) {
    fit <- find_fit(object, name)
    # A model without a decoder reconstructs nothing.
    decoded <- any(fit$history$reconstruction != 0)
    curves <- if (decoded) {
        c(
            reconstruction = "training", validation_reconstruction = "held out",
            critic_gap = "critic"
        )
    } else {
        c(contrast = "training")
    }
    curves <- curves[names(curves) %in% names(fit$history)]
    rows <- lapply(names(curves), function(column) {
        data.frame(
            epoch = fit$history$epoch, value = fit$history[[column]],
            cells = curves[[column]],
            panel = if (column == "critic_gap") {
                "distance of codes and prior"
            } else if (decoded) {
                "reconstruction loss (nats per cell)"
            } else {
                "contrastive loss (nats per cell)"
            }
        )
    })
    table <- do.call(rbind, rows)
    table <- table[!is.na(table$value), ]
    table$panel <- factor(table$panel, rev(sort(unique(table$panel))))
    ggplot2::ggplot(
        table, ggplot2::aes(.data$epoch, .data$value, colour = .data$cells)
    ) +
        ggplot2::geom_line() +
        ggplot2::geom_point(size = 0.7) +
        ggplot2::geom_vline(
            xintercept = fit$summary$best_epoch, linetype = "dashed",
            colour = "grey50"
        ) +
        ggplot2::facet_wrap("panel", scales = "free_y") +
        ggplot2::scale_colour_manual(
            values = c(
                training = "#0072B2", `held out` = "#D55E00", critic = "#555555"
            ),
            breaks = c("training", "held out")
        ) +
        ggplot2::labs(x = "epoch", y = NULL, colour = NULL) +
        ggplot2::theme_bw()
}
