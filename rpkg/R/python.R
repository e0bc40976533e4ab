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
    if (!is.null(configured) && is_known_to_fit(configured)) {
        return(list(path = configured, chosen_by = "reticulate"))
    }
    NULL
}

# A Python that has had what it needs in this session is not asked again.
is_known_to_fit <- function(python) {
    key <- paste("fits", python)
    if (is.null(remembered[[key]]) && has_what_it_needs(python)) {
        remembered[[key]] <- TRUE
    }
    !is.null(remembered[[key]])
}

# The worker has another working directory. Links stay: that of a virtual
# environment must not become the Python that it was made from.
absolute <- function(path) {
    path <- path.expand(path)
    if (grepl("^(/|[A-Za-z]:)", path)) path else file.path(getwd(), path)
}

# What reticulate would use. It starts Pythons to find out, in the session's own
# environment, so that must not send them elsewhere either.
python_of_reticulate <- function() {
    if (!requireNamespace("reticulate", quietly = TRUE)) {
        return(NULL)
    }
    tryCatch(on_its_own(reticulate::py_discover_config()$python),
        error = function(condition) NULL
    )
}

#' Evaluate what starts a Python in this session's own environment
#'
#' Without the variables by which users tell their own Pythons what to load, and in
#' an empty folder.
#' @noRd
on_its_own <- function(code) {
    set_aside <- Sys.getenv(for_other_pythons(names(Sys.getenv())), names = TRUE)
    Sys.unsetenv(names(set_aside))
    folder <- tempfile("scrae-python-")
    dir.create(folder)
    before <- setwd(folder)
    on.exit({
        setwd(before)
        unlink(folder, recursive = TRUE)
        if (length(set_aside)) do.call(Sys.setenv, as.list(set_aside))
    })
    code
}

has_what_it_needs <- function(python) {
    answers_yes(python, paste(
        "import importlib.util as u, sys;",
        "sys.exit(not all(map(u.find_spec, ('torch', 'scanpy', 'rpy2'))))"
    ))
}

# Whether this is a Python that ends these lines with exit status 0.
answers_yes <- function(python, lines) {
    answer <- tryCatch(
        run_python(python, c("-c", lines), timeout = 60)$status,
        error = function(condition) 1L
    )
    identical(answer, 0L)
}

#' Run a Python to its end
#'
#' In an empty folder of its own: the user's working directory may hold a `json.py` of
#' somebody, which no Python shall find.
#' @param python,arguments Path and command line; no path in it may be relative.
#' @param settings Environment variables besides [python_environment()].
#' @param ... Of `processx::run()`.
#' @return What `processx::run()` gives, whatever the exit status.
#' @noRd
run_python <- function(python, arguments, settings = character(), ...) {
    folder <- tempfile("scrae-python-")
    dir.create(folder)
    on.exit(unlink(folder, recursive = TRUE))
    variables <- python_environment()
    variables[names(settings)] <- settings
    processx::run(python, arguments,
        env = variables, wd = folder, error_on_status = FALSE, ...
    )
}

#' Environment variables of a Python that R starts
#'
#' It imports what is installed with it and the core that travels inside this
#' package, and nothing else: no module of the working directory, nothing of the
#' user's PYTHONPATH or of another variable of that kind. Folders that shall be
#' looked at besides are named by the option `scrae.pythonpath`.
#'
#' What R has set for itself is taken away, too: its part of LD_LIBRARY_PATH would
#' give a Python the wrong shared libraries, R_TESTS and the user's profile would
#' run code in the R that Python hosts. Temporary files go where they are deleted
#' with the job, or with the session.
#' @noRd
python_environment <- function(temporary = tempdir()) {
    variables <- Sys.getenv()
    libraries <- strsplit(variables["LD_LIBRARY_PATH"], ":")[[1L]]
    of_r <- startsWith(libraries, R.home()) |
        grepl("^/(usr/)?lib(/|$)", libraries)
    gone <- c(
        for_other_pythons(names(variables)), "LD_LIBRARY_PATH", "R_TESTS",
        "R_SESSION_INITIALIZED", "R_SESSION_TMPDIR"
    )
    result <- c(
        variables[setdiff(names(variables), gone)],
        if (!all(of_r, na.rm = TRUE)) {
            c(LD_LIBRARY_PATH = paste(libraries[!of_r], collapse = ":"))
        },
        PYTHONPATH = paste(c(core_path(), folders_asked_for()), collapse = .Platform$path.sep),
        PYTHONSAFEPATH = "1",
        # The package's folder may belong to someone else.
        PYTHONDONTWRITEBYTECODE = "1",
        R_HOME = R.home(),
        TMPDIR = temporary,
        R_LIBS = paste(.libPaths(), collapse = .Platform$path.sep),
        R_PROFILE_USER = nullfile()
    )
    result[!duplicated(names(result), fromLast = TRUE)]
}

folders_asked_for <- function() {
    vapply(as.character(getOption("scrae.pythonpath")), absolute, "", USE.NAMES = FALSE)
}

# Of names of environment variables, those by which users tell their own Pythons
# what to load and how to run. (PYTHONNOUSERSITE only forbids something.)
for_other_pythons <- function(names) {
    setdiff(grep("^PYTHON", names, value = TRUE), "PYTHONNOUSERSITE")
}
