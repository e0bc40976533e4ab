# Python inside the R session, through reticulate: `in.process = TRUE`.

# Where scrae.r finds the cells of the job in hand.
session_job <- new.env()

run_in_session <- function(folder, cells, where) {
    need_package("reticulate", "in.process = TRUE", 'install.packages("reticulate")')
    if (utils::packageVersion("reticulate") < "1.31") {
        fail(
            "in.process = TRUE needs reticulate 1.31 or newer (here: ",
            utils::packageVersion("reticulate"), "): older ones crash R as ",
            "soon as rpy2 is used beside them. Leave in.process out: the ",
            "worker process needs no reticulate."
        )
    }
    if (!reticulate::py_available()) {
        python <- find_python()$path
        on_its_own({
            reticulate::use_python(python, required = TRUE)
            reticulate::py_config() # starts it
        })
    }
    python_system <- reticulate::import("sys")
    before <- python_system$path
    python_system$path <- as.list(paths_for_a_job(before))
    on.exit(python_system$path <- as.list(before))
    refuse_foreign_modules()
    session_job$cells <- cells
    on.exit(rm("cells", envir = session_job), add = TRUE)
    module <- reticulate::import("scrae.r")
    told <- module$run_in_session(folder)
    pass_on(lapply(told, read_event), where)
}

# Where Python may look for modules while it does a job, of where it looks now: not
# in the working directory, where reticulate has it look first, and not where the
# user's PYTHONPATH leads, as for a Python of its own (python_environment()).
paths_for_a_job <- function(paths) {
    absolute_ones <- paths[grepl("^(/|[A-Za-z]:)", paths)]
    kept <- absolute_ones[!normal(absolute_ones) %in% places_of_user()]
    unique(c(core_path(), folders_asked_for(), kept))
}

places_of_user <- function() {
    named <- strsplit(Sys.getenv("PYTHONPATH"), .Platform$path.sep, fixed = TRUE)[[1L]]
    setdiff(normal(c(getwd(), named[nzchar(named)])), normal(folders_asked_for()))
}

normal <- function(paths) normalizePath(paths, winslash = "/", mustWork = FALSE)

NEEDED_MODULES <- c(
    "anndata", "anndata2ri", "h5py", "numba", "numpy", "pandas", "rpy2", "safetensors",
    "scanpy", "scipy", "sklearn", "torch", "tqdm"
)

# What the session has loaded before this package was asked cannot be taken back.
refuse_foreign_modules <- function() {
    files <- loaded_files(c("scrae", NEEDED_MODULES)) %||% character()
    scrae <- files[names(files) == "scrae"]
    if (length(scrae) && normal(dirname(dirname(scrae))) != normal(core_path())) {
        fail(
            "this session has loaded another scrae, from '", scrae, "'. Restart R, or ",
            "leave in.process out."
        )
    }
    # A module is a file in a folder that Python looks into, or a folder with a file.
    places <- ifelse(basename(files) == "__init__.py", dirname(dirname(files)), dirname(files))
    for (name in names(files)[normal(places) %in% places_of_user()]) {
        warning(
            "this session has loaded the Python module ", name, " from '", files[[name]],
            "', which is not the installed one. Restart R, or leave in.process out.",
            call. = FALSE
        )
    }
}

# Files of those of these modules that are loaded, by name.
loaded_files <- function(names) {
    unlist(reticulate::py_eval(sprintf(
        paste(
            "{name: module.__file__ for name, module in list(__import__('sys').modules.items())",
            "if name in %s and getattr(module, '__file__', None)}"
        ),
        to_json(names)
    )))
}
