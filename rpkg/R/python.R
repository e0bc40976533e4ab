# Which Python, and the environment that it is started in.

core_path <- function() system.file("core", "python", package = "scRAE")

private_environment <- function() {
    file.path(tools::R_user_dir("scRAE", "data"), "python")
}

python_of <- function(environment) {
    if (.Platform$OS.type == "windows") {
        file.path(environment, "Scripts", "python.exe")
    } else {
        file.path(environment, "bin", "python")
    }
}

#' The Python to use
#'
#' In this order: the option `scrae.python`, the variable RETICULATE_PYTHON, the
#' environment of [InstallSCRAE()], what reticulate is configured to use.
#' @return List of `path` and `chosen_by`.
#' @noRd
find_python <- function() {
    found <- look_for_python()
    if (is.null(found)) {
        fail(
            "scRAE finds no Python with the packages it needs. To set one up, ",
            "type:  InstallSCRAE()",
            class = "scrae_no_python"
        )
    }
    if (!file.exists(found$path)) {
        fail(
            "there is no Python at '", found$path, "' (chosen by ",
            found$chosen_by, ")",
            class = "scrae_no_python"
        )
    }
    found
}

look_for_python <- function() {
    option <- getOption("scrae.python")
    if (!is.null(option)) {
        return(list(
            path = absolute(option), chosen_by = "options(scrae.python)"
        ))
    }
    variable <- Sys.getenv("RETICULATE_PYTHON")
    if (nzchar(variable) && variable != "managed") {
        return(list(
            path = absolute(variable), chosen_by = "RETICULATE_PYTHON"
        ))
    }
    private <- python_of(private_environment())
    if (file.exists(private)) {
        return(list(path = private, chosen_by = "InstallSCRAE()"))
    }
    configured <- python_of_reticulate()
    if (!is.null(configured) && has_what_it_needs(configured)) {
        return(list(path = configured, chosen_by = "reticulate"))
    }
    NULL
}

# The worker has another working directory. Links stay: that of a virtual
# environment must not become the Python that it was made from.
absolute <- function(path) {
    path <- path.expand(path)
    if (grepl("^(/|[A-Za-z]:)", path)) path else file.path(getwd(), path)
}

# What reticulate would use; asking does not start it.
python_of_reticulate <- function() {
    if (!requireNamespace("reticulate", quietly = TRUE)) {
        return(NULL)
    }
    tryCatch(reticulate::py_discover_config()$python,
        error = function(condition) NULL
    )
}

has_what_it_needs <- function(python) {
    question <- paste(
        "import importlib.util as u, sys;",
        "sys.exit(not all(map(u.find_spec, ('torch', 'scanpy', 'rpy2'))))"
    )
    answer <- tryCatch(
        processx::run(python, c("-c", question),
            env = python_environment(), error_on_status = FALSE, timeout = 60
        )$status,
        error = function(condition) 1L
    )
    identical(answer, 0L)
}

#' Environment variables of a Python that R starts
#'
#' The core that travels inside this package comes first on Python's path. What
#' R has set for itself is taken away: its part of LD_LIBRARY_PATH would give a
#' Python the wrong shared libraries, R_TESTS and the user's profile would run
#' code in the R that Python hosts. Temporary files go where they are deleted with
#' the job, or with the session.
#' @noRd
python_environment <- function(temporary = tempdir()) {
    variables <- Sys.getenv()
    libraries <- strsplit(variables["LD_LIBRARY_PATH"], ":")[[1L]]
    of_r <- startsWith(libraries, R.home()) |
        grepl("^/(usr/)?lib(/|$)", libraries)
    gone <- c(
        "LD_LIBRARY_PATH", "PYTHONHOME", "R_TESTS", "R_SESSION_INITIALIZED",
        "R_SESSION_TMPDIR"
    )
    result <- c(
        variables[setdiff(names(variables), gone)],
        if (!all(of_r, na.rm = TRUE)) {
            c(LD_LIBRARY_PATH = paste(libraries[!of_r], collapse = ":"))
        },
        PYTHONPATH = paste(
            c(core_path(), Filter(nzchar, Sys.getenv("PYTHONPATH"))),
            collapse = .Platform$path.sep
        ),
        # The package's folder may belong to someone else.
        PYTHONDONTWRITEBYTECODE = "1",
        R_HOME = R.home(),
        TMPDIR = temporary,
        R_LIBS = paste(.libPaths(), collapse = .Platform$path.sep),
        R_PROFILE_USER = nullfile()
    )
    result[!duplicated(names(result), fromLast = TRUE)]
}
