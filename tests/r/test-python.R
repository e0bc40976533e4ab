# Which Python is used, its environment, and what SCRAEStatus() says of it.

with_environment <- function(variables, code) {
    before <- Sys.getenv(names(variables), unset = NA, names = TRUE)
    do.call(Sys.setenv, as.list(variables))
    on.exit({
        if (!all(is.na(before))) do.call(Sys.setenv, as.list(before[!is.na(before)]))
        Sys.unsetenv(names(before)[is.na(before)])
    })
    force(code)
}

test_that("the option wins, then RETICULATE_PYTHON, then the private environment", {
    home <- tempfile("home")
    private <- file.path(home, "R", "scRAE", "python", "bin", "python")
    dir.create(dirname(private), recursive = TRUE)
    file.create(private)
    on.exit(unlink(home, recursive = TRUE))
    variables <- c(RETICULATE_PYTHON = "/variable/python", R_USER_DATA_DIR = home)
    chosen <- function() {
        with_environment(variables, scRAE:::look_for_python()$path)
    }
    before <- options(scrae.python = "/option/python")
    on.exit(options(before), add = TRUE)
    expect_equal(chosen(), "/option/python")
    options(scrae.python = NULL)
    expect_equal(chosen(), "/variable/python")
    variables["RETICULATE_PYTHON"] <- ""
    expect_equal(chosen(), private)
})

test_that("without any Python one message has the one line to type", {
    home <- tempfile("home")
    before <- options(scrae.python = NULL)
    on.exit(options(before))
    nothing <- c(RETICULATE_PYTHON = "", R_USER_DATA_DIR = home, PATH = home)
    with_environment(nothing, {
        expect_error(scRAE:::find_python(), "type:  InstallSCRAE\\(\\)", class = "scrae_no_python")
        expect_false(SCRAEStatus(verbose = FALSE)$ready)
        expect_message(SCRAEStatus(), "InstallSCRAE\\(\\)")
    })
})

test_that("a relative path is one of this working directory", {
    before <- options(scrae.python = "some/python")
    on.exit(options(before))
    expect_equal(scRAE:::look_for_python()$path, file.path(getwd(), "some/python"))
})

test_that("a path that is no Python is named with who chose it", {
    before <- options(scrae.python = "/nowhere/python")
    on.exit(options(before))
    expect_error(scRAE:::find_python(), "no Python at '/nowhere/python' \\(chosen by options\\(scrae.python\\)\\)")
})

test_that("SCRAEStatus finds this Python ready, and tells versions", {
    status <- SCRAEStatus(verbose = FALSE)
    expect_true(status$ready)
    expect_equal(status$problems, character())
    expect_equal(status$findings[["scrae"]], as.character(utils::packageVersion("scRAE")))
    expect_match(status$findings[["R"]], paste(R.version$major, R.version$minor, sep = "."), fixed = TRUE)
    expect_message(SCRAEStatus(), "ready")
})

test_that("SCRAEStatus takes a quick look, and a thorough one after a death or when it is asked to look again", {
    log <- tempfile("log")
    logging <- tempfile("python")
    writeLines(c(
        "#!/bin/sh", sprintf("echo \"$3\" >> '%s'", log), sprintf("exec '%s' \"$@\"", getOption("scrae.python"))
    ), logging)
    Sys.chmod(logging)
    before <- options(scrae.python = logging)
    on.exit({
        options(before)
        unlink(c(log, logging))
    })
    looked <- function(...) {
        expect_true(SCRAEStatus(verbose = FALSE, ...)$ready)
        readLines(log)
    }
    expect_equal(looked(), "--look")
    expect_equal(looked(), "--look")
    expect_equal(looked(refresh = TRUE), c("--look", "--check"))
    scRAE:::doubt_status()
    expect_equal(looked(), c("--look", "--check", "--check"))
    expect_equal(looked(), c("--look", "--check", "--check"))
})

test_that("SCRAEStatus says what a Python without the packages lacks", {
    skip_if_not(file.exists("/usr/bin/python3"), "no second Python")
    before <- options(scrae.python = "/usr/bin/python3")
    on.exit(options(before))
    status <- SCRAEStatus(verbose = FALSE)
    skip_if(status$ready, "the second Python has everything")
    expect_match(status$problems[1], "InstallSCRAE|pip install")
})

test_that("Python gets the core of this package and nothing that R set for itself", {
    variables <- with_environment(
        c(
            R_TESTS = "startup.Rs", PYTHONHOME = "/x",
            LD_LIBRARY_PATH = paste(file.path(R.home(), "lib"), "/opt/cuda/lib", "/usr/lib/jvm/x", sep = ":")
        ),
        scRAE:::python_environment()
    )
    expect_false(any(c("R_TESTS", "PYTHONHOME") %in% names(variables)))
    expect_equal(variables[["LD_LIBRARY_PATH"]], "/opt/cuda/lib")
    expect_equal(anyDuplicated(names(variables)), 0L)
    core <- python("import scrae; print(scrae.__file__)")$stdout
    expect_equal(dirname(trimws(core)), file.path(scRAE:::core_path(), "scrae"))
})

# Modules that leave a mark where they are imported; the folder that holds them.
planted_modules <- function(mark) {
    folder <- tempfile("planted-")
    dir.create(folder)
    modules <- c("scrae", "json", "venv", "numpy", "sitecustomize", "usercustomize", "importlib", "torch")
    for (name in modules) {
        writeLines(sprintf("open(%s, 'a').write(__name__ + '\\n')", deparse(mark)), file.path(folder, paste0(name, ".py")))
    }
    folder
}

marks <- function(mark) if (file.exists(mark)) readLines(mark) else character()

test_that("no Python runs what lies in the working directory or on the user's PYTHONPATH", {
    mark <- tempfile("mark-")
    planted <- planted_modules(mark)
    before <- setwd(planted)
    on.exit({
        setwd(before)
        unlink(c(planted, mark, "environment"), recursive = TRUE)
    })
    plain <- getOption("scrae.python")
    # The trap works: a Python that is started without care runs it.
    suppressWarnings(system2(plain, c("-c", shQuote("import json, numpy")),
        env = paste0("PYTHONPATH=", planted), stdout = FALSE, stderr = FALSE
    ))
    expect_true(all(c("sitecustomize", "json", "numpy") %in% marks(mark)))
    unlink(mark)
    variables <- c(
        PYTHONPATH = paste("", planted, sep = .Platform$path.sep), PYTHONSTARTUP = file.path(planted, "json.py"),
        PYTHONUSERBASE = planted, PYTHONINSPECT = "1"
    )
    with_environment(variables, {
        status <- SCRAEStatus(verbose = FALSE, refresh = TRUE)
        expect_true(status$ready)
        expect_equal(marks(mark), character())
        expect_true(scRAE:::has_what_it_needs(plain))
        expect_equal(scRAE:::base_python(plain), plain)
        expect_equal(marks(mark), character())
        # Up to where pip has no wheels: the environment has been made then.
        empty <- file.path(planted, "wheels")
        dir.create(empty)
        expect_error(
            InstallSCRAE(envname = "environment", offline = "wheels", python = plain, verbose = FALSE), "pip found no"
        )
        expect_equal(marks(mark), character())
        quick(made_counts(), features = "all", max_epochs = 1)
        scRAE:::python_of_reticulate()
        expect_equal(marks(mark), character())
        expect_equal(Sys.getenv(names(variables)), variables)
    })
})

test_that("a folder that an option names is on Python's path, behind the core", {
    mark <- tempfile("mark-")
    planted <- planted_modules(mark)
    unlink(file.path(planted, setdiff(list.files(planted), c("scrae.py", "numpy.py"))))
    before <- options(scrae.pythonpath = planted)
    on.exit({
        options(before)
        unlink(c(planted, mark), recursive = TRUE)
    })
    scRAE:::run_python(getOption("scrae.python"), c("-c", "import numpy, scrae"))
    expect_equal(marks(mark), "numpy")
})

test_that("a Python that R starts finds nothing to import where it is started", {
    listed <- scRAE:::run_python(getOption("scrae.python"), c("-c", "import os; print(os.listdir())"))$stdout
    expect_equal(trimws(listed), "[]")
})

test_that("the core in the R package is the one of this folder", {
    folder <- testthat::test_path("..", "..", "python", "scrae")
    skip_if_not(dir.exists(folder), "not in a clone")
    files <- list.files(folder, "\\.(py|typed)$", recursive = TRUE)
    travelling <- file.path(scRAE:::core_path(), "scrae", files)
    expect_gt(length(files), 20L)
    expect_equal(unname(tools::md5sum(travelling)), unname(tools::md5sum(file.path(folder, files))))
})

test_that("InstallSCRAE refuses what cannot work before it makes anything", {
    target <- tempfile("environment")
    expect_error(InstallSCRAE(envname = target, offline = "/nowhere"), "no folder '/nowhere' with wheels")
    expect_error(InstallSCRAE(envname = target, python = "/nowhere/python"), "no Python 3.11 or newer was found at")
    expect_false(dir.exists(target))
})

test_that("InstallSCRAE names what a folder of wheels lacks and leaves nothing half made", {
    target <- tempfile("environment")
    empty <- tempfile("wheels")
    dir.create(empty)
    on.exit(unlink(empty, recursive = TRUE))
    expect_error(
        InstallSCRAE(envname = target, offline = empty, python = getOption("scrae.python"), verbose = FALSE),
        "pip found no 'setuptools.*Its last words"
    )
    expect_false(dir.exists(target))
})

# In a session of its own, with planted modules in its working directory and on PYTHONPATH: what a call there comes to.
in_a_session_beside <- function(planted, act, python_first = FALSE) {
    skip_unless_installed("reticulate", "callr")
    skip_if(utils::packageVersion("reticulate") < "1.31", "needs reticulate 1.31")
    callr::r(
        function(act, counts, python, python_first) {
            options(scrae.python = python)
            if (python_first) reticulate::use_python(python, required = TRUE)
            act(function() {
                scRAE::RunSCRAE(counts, features = "all", n_latent = 2, n_hidden = 8, max_epochs = 1,
                    verbose = FALSE, threads = 1, in_process = TRUE
                )
            })
        },
        list(act, made_counts(), getOption("scrae.python"), python_first),
        wd = planted, env = c(callr::rcmd_safe_env(), PYTHONPATH = planted)
    )
}

test_that("a Python inside the session runs nothing of the working directory or of PYTHONPATH either", {
    mark <- tempfile("mark-")
    planted <- planted_modules(mark)
    on.exit(unlink(c(planted, mark), recursive = TRUE))
    left <- in_a_session_beside(planted, function(train) {
        embedding <- train()
        list(
            dim = dim(embedding), path = reticulate::import("sys")$path, wd = getwd(),
            variable = Sys.getenv("PYTHONPATH")
        )
    })
    expect_equal(left$dim, c(60L, 2L))
    expect_equal(marks(mark), character())
    # The session's own settings are what they were, so that the user's own modules are still found.
    expect_true("" %in% left$path)
    expect_equal(normalizePath(left$wd), normalizePath(planted))
    expect_equal(left$variable, planted)
})

test_that("a Python that the session has started already is given the installed modules as well", {
    mark <- tempfile("mark-")
    planted <- planted_modules(mark)
    unlink(file.path(planted, c("sitecustomize.py", "usercustomize.py", "numpy.py", "json.py", "importlib.py")))
    on.exit(unlink(c(planted, mark), recursive = TRUE))
    dim <- in_a_session_beside(planted, function(train) {
        reticulate::py_config()
        dim(train())
    }, python_first = TRUE)
    expect_equal(dim, c(60L, 2L))
    expect_equal(marks(mark), character())
})

test_that("modules of the working directory that the session has loaded are told of, and another scrae is refused", {
    planted <- tempfile("planted-")
    dir.create(planted)
    on.exit(unlink(planted, recursive = TRUE))
    writeLines("", file.path(planted, "scrae.py"))
    writeLines("", file.path(planted, "tqdm.py"))
    said <- in_a_session_beside(planted, function(train) {
        reticulate::import("tqdm")
        warned <- tryCatch(train(), warning = conditionMessage, error = conditionMessage)
        reticulate::import("scrae")
        refused <- tryCatch(suppressWarnings(train()), error = conditionMessage)
        c(warned, refused)
    }, python_first = TRUE)
    expect_match(said[1], "this session has loaded the Python module tqdm from '.*planted-.*tqdm.py'")
    expect_match(said[2], "this session has loaded another scrae, from '.*planted-.*scrae.py'")
})
