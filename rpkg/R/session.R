# Python inside the R session, through reticulate: `in_process = TRUE`.

# Where scrae.r finds the cells of the job in hand.
session_job <- new.env()

run_in_session <- function(folder, cells, where) {
    need_package("reticulate", "in_process = TRUE", 'install.packages("reticulate")')
    if (utils::packageVersion("reticulate") < "1.31") {
        fail(
            "in_process = TRUE needs reticulate 1.31 or newer (here: ",
            utils::packageVersion("reticulate"), "): older ones crash R as ",
            "soon as rpy2 is used beside them. Leave in_process out: the ",
            "worker process needs no reticulate."
        )
    }
    if (!reticulate::py_available()) {
        reticulate::use_python(find_python()$path, required = TRUE)
    }
    session_job$cells <- cells
    on.exit(rm("cells", envir = session_job))
    module <- reticulate::import_from_path("scrae.r", core_path())
    told <- module$run_in_session(folder)
    pass_on(lapply(told, read_event), where)
}
