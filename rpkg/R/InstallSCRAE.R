#' Set up the Python that scRAE needs
#'
#' Makes a private virtual environment and installs torch, scanpy, rpy2,
#' anndata2ri and what they need, in the versions that scRAE is tested with. No
#' conda is needed, and no other Python on the machine is touched. rpy2 is built
#' against this R, so R's headers and a C compiler must be there (on Debian and
#' Ubuntu: `apt-get install r-base-dev python3-venv`). scRAE's own Python code is
#' part of this R package and is not downloaded.
#'
#' Every Python process that this package starts imports its own installed packages
#' and scRAE's code, and nothing from the working directory or from `PYTHONPATH`.
#' `options(scrae.pythonpath = folders)` adds further folders. With `in.process =
#' TRUE` the same holds while scRAE works, also in a Python that reticulate has
#' started before. Modules that the session has already loaded cannot be replaced: a
#' warning names those that are not the installed ones, and another version of scrae
#' is refused.
#'
#' [RunSCRAE()] looks for Python in this order: `options(scrae.python = path)`,
#' the environment variable `RETICULATE_PYTHON`, the environment made here, and
#' what reticulate is configured to use.
#'
#' @section Without a network:
#' On a machine like this one that has a network, and this package, in a shell (`CORE`
#' stands for what `system.file("core", package = "scRAE")` gives; leave
#' requirements-r.lock out from R 4.5 on): \preformatted{cp -r CORE core python3 -m
#' pip download --dest wheels --constraint core/requirements.lock \\ --constraint
#' core/requirements-r.lock './core[r]' setuptools wheel} Then `InstallSCRAE(offline =
#' "wheels")`, wherever that folder is copied to. An error names packages that are
#' missing there.
#'
#' @param device `"cpu"`, or `"cuda"` to fail if torch finds no CUDA device
#'   afterwards. Which build of torch is installed is decided by pip: on Linux the
#'   usual one serves both and is large; `torch.index` names the address of
#'   another.
#' @param envname Folder of the environment. NULL: a folder of this package below
#'   `tools::R_user_dir()`, where [RunSCRAE()] finds it; for another folder it
#'   must be told by `options(scrae.python = file.path(envname, "bin/python"))`.
#' @param offline Folder with wheels and source archives, see below; no other source
#'   is used then.
#' @param python Python 3.11 or newer to make the environment with; NULL: the first
#'   suitable one on the path.
#' @param torch.index Address of a package index to take torch from.
#' @param verbose Show what is done.
#' @return The path of the new environment's Python, invisibly.
#' @seealso [SCRAEStatus()]
#' @examples
#' if (interactive()) {
#'     InstallSCRAE()
#' }
#' @export
InstallSCRAE <- function(device = c("cpu", "cuda"), envname = NULL,
    offline = NULL, python = NULL, torch.index = NULL, verbose = TRUE) {
    if (missing(device)) device <- "cpu"
    a_name(device, "device")
    device <- one_of(tolower(device), c("cpu", "cuda"), "device", device)
    if (!is.null(offline) && !dir.exists(offline)) {
        fail("there is no folder '", offline, "' with wheels")
    }
    envname <- absolute(envname %||% private_environment())
    base <- base_python(python)
    say(verbose, "making ", envname, " with ", base)
    unlink(envname, recursive = TRUE)
    dir.create(dirname(envname), showWarnings = FALSE, recursive = TRUE)
    finished <- FALSE
    # A half-made environment would be found and used.
    on.exit(if (!finished) unlink(envname, recursive = TRUE))
    call_python(base, c("-m", "venv", envname), verbose, paste0(
        "Python could not make an environment. On Debian and Ubuntu: ",
        "apt-get install python3-venv"
    ))
    target <- python_of(envname)
    # pip builds in the folder that it is given, which may belong to root.
    core <- tempfile("scrae-core-")
    dir.create(core)
    on.exit(unlink(core, recursive = TRUE), add = TRUE)
    file.copy(
        list.files(system.file("core", package = "scRAE"), full.names = TRUE),
        core,
        recursive = TRUE
    )
    pip <- c("-m", "pip", "install", "--disable-pip-version-check")
    settings <- character()
    if (!is.null(offline)) {
        pip <- c(pip, "--no-index", "--find-links", normalizePath(offline))
        # The user's own settings of pip may name other places.
        settings <- c(PIP_CONFIG_FILE = nullfile(), PIP_FIND_LINKS = "")
    }
    pins <- pins_for(target, core)
    if (!is.null(torch.index)) {
        if (dir.exists(torch.index)) torch.index <- normalizePath(torch.index)
        say(verbose, "installing torch from ", torch.index)
        call_python(target, c(pip, pins, "--index-url", torch.index, "torch"),
            verbose, "pip could not install torch", settings, count_pins(pins)
        )
    }
    say(verbose, "installing the Python packages (some minutes)")
    # No wheel of rpy2 from pip's cache: it may be built against another R.
    call_python(
        target,
        c(pip, pins, "--no-cache-dir", paste0(core, "[r]")),
        verbose, paste0(
            "pip could not install the packages; rpy2 needs R's headers and a ",
            "C compiler (on Debian and Ubuntu: apt-get install r-base-dev)"
        ),
        settings, count_pins(pins)
    )
    if (device == "cuda") {
        call_python(target, c("-c", paste(
            "import sys, torch;",
            "sys.exit(None if torch.cuda.is_available() else 'no CUDA device')"
        )), verbose, "torch finds no CUDA device; use device = \"cpu\"")
    }
    finished <- TRUE
    forget_status()
    say(verbose, "ready: ", target)
    invisible(target)
}

# The first Python that is new enough, by its path.
base_python <- function(python) {
    candidates <- python %||% c(
        "python3", paste0("python3.", 14:11), "/usr/bin/python3"
    )
    for (candidate in candidates) {
        path <- unname(Sys.which(path.expand(candidate)))
        if (nzchar(path) && python_is(absolute(path), ">= (3, 11)")) {
            return(absolute(path))
        }
    }
    fail(
        "no Python 3.11 or newer was found",
        if (!is.null(python)) paste0(" at '", python, "'"),
        ". On Debian and Ubuntu: apt-get install python3 python3-venv",
        class = "scrae_no_python"
    )
}

python_is <- function(path, version) {
    answers_yes(path, paste0(
        "import sys; sys.exit(not sys.version_info[:2] ", version, ")"
    ))
}

# The tested versions: of the core for the Pythons that the lock is made for, of
# rpy2 where R is too old for the newest.
pins_for <- function(python, core) {
    files <- c(
        if (python_is(python, ">= (3, 11)")) "requirements.lock",
        if (getRversion() < "4.5") "requirements-r.lock"
    )
    unlist(lapply(files, function(file) c("-c", file.path(core, file))))
}

#' Run a Python to its end while a bar shows how far it is
#'
#' What it says is for when something goes wrong: the last lines are part of the
#' error then, and a file has the whole.
#' @param failure What to say first where it fails.
#' @param packages How many packages it is expected to collect; NA: nobody knows.
#' @noRd
call_python <- function(python, arguments, verbose, failure,
    settings = character(), packages = NA) {
    progress <- install_progress(verbose, packages)
    on.exit(progress$done())
    result <- run_python(python, arguments, settings,
        stdout_line_callback = progress$line, stderr_line_callback = progress$line
    )
    if (!identical(result$status, 0L)) {
        lines <- strsplit(paste0(result$stdout, result$stderr), "\n")[[1L]]
        not_found <- ".*No matching distribution found for "
        absent <- sub(not_found, "", grep(not_found, lines, value = TRUE))
        if (length(absent) > 0L) {
            failure <- paste0("pip found no ", quoted(unique(absent)))
        }
        whole <- tempfile("scrae-install-", fileext = ".log")
        writeLines(lines, whole)
        fail(
            failure, ". Its last words (all ", count(length(lines)), " lines are in ",
            whole, "):\n",
            paste(utils::tail(lines, LAST_WORDS), collapse = "\n")
        )
    }
}

# A bar by the packages that pip says it collects; what it does meanwhile beside it.
install_progress <- function(verbose, packages) {
    nothing <- function(...) NULL
    if (!verbose) {
        return(list(line = nothing, done = nothing))
    }
    frame <- environment()
    bar <- cli::cli_progress_bar("Python",
        total = packages, .envir = frame,
        format = if (is.na(packages)) {
            "{cli::pb_spin} {cli::pb_status}"
        } else {
            "{cli::pb_bar} {cli::pb_current}/{cli::pb_total} packages, {cli::pb_status}"
        }
    )
    collected <- 0
    list(
        line = function(line, process) {
            if (startsWith(line, "Collecting ")) collected <<- collected + 1
            cli::cli_progress_update(
                id = bar, .envir = frame,
                set = if (is.na(packages)) NULL else min(collected, packages - 1),
                status = substr(gsub("[{}]", "", trimws(line)), 1L, 50L)
            )
        },
        done = function() cli::cli_progress_done(id = bar, .envir = frame)
    )
}

# How many packages the files of tested versions name.
count_pins <- function(pins) {
    files <- pins[pins != "-c"]
    lines <- unlist(lapply(files, readLines))
    if (length(lines)) sum(grepl("^[A-Za-z0-9]", lines)) else NA
}
