# Renders the vignettes of the R package as Markdown pages: Rscript vignettes.R FOLDER_OF_RMD TARGET
# Figures come to TARGET/figure. Each page is made in a session of its own. A page is made again only where the vignette
# or the code of the packages has changed: TARGET/NAME.made-from has the digest of what it was made from.

arguments <- commandArgs(TRUE)
from <- normalizePath(arguments[1])
target <- arguments[2]
root <- dirname(from)
dir.create(file.path(target, "figure"), recursive = TRUE, showWarnings = FALSE)
target <- normalizePath(target)

sources <- c(
    list.files(file.path(root, "rpkg/R"), full.names = TRUE),
    list.files(file.path(root, "python/scrae"), "[.]py$", recursive = TRUE, full.names = TRUE)
)
# Comments, from which the help is made, change nothing in a vignette.
bare <- tempfile()
writeLines(unlist(lapply(sources, function(path) grep("^ *#", readLines(path), value = TRUE, invert = TRUE))), bare)
code <- unname(tools::md5sum(bare))

render <- function(rmd, target) {
    name <- tools::file_path_sans_ext(basename(rmd))
    knitr::opts_knit$set(base.dir = paste0(target, "/"))
    knitr::opts_chunk$set(fig.path = paste0("figure/", name, "-"), dpi = 80, comment = "", dev = "png")
    out <- file.path(tempdir(), paste0(name, ".md"))
    knitr::knit(rmd, out, quiet = TRUE, envir = new.env())
    text <- readLines(out, encoding = "UTF-8")
    front <- which(text == "---")[1:2]
    title <- sub('^title: "(.*)"$', "\\1", grep("^title:", text[seq(front[1], front[2])], value = TRUE))
    text <- text[-seq_len(front[2])]

    # Headings go down by one, outside of code, so that the title is the only one of its level.
    fenced <- cumsum(grepl("^```", text)) %% 2 == 1 | grepl("^```", text)
    heading <- grepl("^#+ ", text) & !fenced
    text[heading] <- paste0("#", text[heading])

    # Figures that Python has drawn lie among temporary files.
    drawn <- regmatches(text, regexpr(paste0(tempdir(), "[^)\"]*[.]png"), text))
    for (figure in drawn) {
        own <- paste0("figure/", name, "-", basename(figure))
        file.copy(figure, file.path(target, own), overwrite = TRUE)
        text <- gsub(figure, own, text, fixed = TRUE)
    }
    text <- gsub(paste0(target, "/"), "", text, fixed = TRUE)
    text <- sub("!\\[plot of chunk ([^]]*)\\]", "![Figure of the chunk \\1]", text)
    # What R and Python print is plain text to the highlighter.
    opening <- grepl("^```$", text) & cumsum(grepl("^```", text)) %% 2 == 1
    text[opening] <- "```text"
    writeLines(c(paste("#", title), "", text), file.path(target, paste0(name, ".md")), useBytes = TRUE)
}

for (rmd in sort(list.files(from, "[.]Rmd$", full.names = TRUE))) {
    name <- tools::file_path_sans_ext(basename(rmd))
    stamp <- file.path(target, paste0(name, ".made-from"))
    digest <- paste0(tools::md5sum(rmd), code)
    if (file.exists(file.path(target, paste0(name, ".md"))) && file.exists(stamp) && identical(readLines(stamp), digest)) next
    cat("docs: rendering the vignette", name, "\n")
    callr::r(render, list(rmd = rmd, target = target), spinner = FALSE)
    writeLines(digest, stamp)
}
