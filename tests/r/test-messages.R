# What Python refuses and warns of, through the worker; tests/python/bridge words
# every refusal that there is.

OF_PYTHON <- paste0(
    "adata|obs\\[|\\bnp\\.|\\bsc\\.|None|\\bTrue\\b|\\bFalse\\b|map\\(|Traceback|",
    "[A-Za-z]+Error\\b|dtype|array\\(|Length of values|Categorical|py_last_error|",
    "unlabeled_category|unknown_rate|n_runs|n_top|batch_key|random_state|layer="
)

# What is said, and the classes of the condition.
said <- function(code) {
    tryCatch(code, condition = function(condition) {
        structure(conditionMessage(condition), classes = class(condition))
    })
}

expect_words <- function(code, words, class) {
    text <- said(code)
    expect_match(text, words, fixed = TRUE)
    expect_no_match(text, OF_PYTHON, perl = TRUE)
    expect_true(class %in% attr(text, "classes"))
}

# Without the checks of R in front: what the job itself says.
job_of <- function(action, arguments, counts = made_counts()) {
    how <- scRAE:::run_options(list(threads = 1), character(), FALSE)
    scRAE:::run_job(action, arguments, counts, how = how, where = "assay 'RNA'")
}

test_that("what the worker refuses is said in words of R", {
    counts <- made_counts()
    fractional <- counts
    fractional[3, 2] <- 0.5
    expect_words(
        job_of("train", list(random_state = 1), fractional),
        "assay 'RNA' does not hold raw counts: 1 of ", "scrae_not_counts"
    )
    large <- counts
    large[3, 2] <- 2^25
    expect_words(
        quick(large, features = "all"),
        "larger than 16,777,216 (the first: 33554432, gene 'gene3', cell 'cell2')",
        "CountsError"
    )
    expect_words(
        quick(counts, features = "all", likelihood = c("nb", "zinb")),
        "likelihood must be a name, not c(\"nb\", \"zinb\")", "scrae_other_kind"
    )
    file <- tempfile()
    file.create(file)
    expect_words(
        quick(counts, features = "all", model.dir = file),
        "is a file. A model is saved as a folder", "scrae_no_folder"
    )
})

test_that("what a model refuses is said in words of R", {
    counts <- made_counts()
    embedding <- trained()
    expect_words(
        DenoiseSCRAE(counts[-(1:2), ], embedding, verbose = FALSE),
        "2 of the model's 30 genes are not in the matrix ('gene1', 'gene2')", "scrae_genes_missing"
    )
    expect_words(
        PredictSCRAE(counts[-1, ], embedding, verbose = FALSE),
        "1 of the model's 30 genes is not in the matrix ('gene1'); it counts as zero", "warning"
    )
    expect_words(SampleSCRAE(embedding, 3, batch = "a"), "trained without group.by.vars", "scrae_no_batches")
    expect_words(
        LabelSCRAE(counts, rep("B cell", 60), embedding, verbose = FALSE),
        "has one type only ('B cell', 60 cells)", "scrae_too_few_types"
    )
    groups <- data.frame(type = rep(c("a", "b"), 30))
    expect_words(
        FindMarkersSCRAE(counts, "type", "c", model = embedding, meta.data = groups, verbose = FALSE),
        "column 'type' has no group 'c'", "scrae_unknown_group"
    )
    expect_words(job_of("stability", list(
        n_runs = 1, resolution = 1, random_state = 1
    )), "n.runs must be at least 2, not 1", "scrae_below_least")
    expect_words(job_of("dance", list()), "does not know 'dance'", "scrae_unknown_job")
})

test_that("arguments of one value are refused where they have more", {
    counts <- made_counts()
    expect_error(SampleSCRAE(trained(), 3, batch = c("a", "b")), "batch must be one value")
    expect_error(LabelSCRAE(counts, rep("a", 60), trained(), unknown.rate = "a"), "unknown.rate must be one number")
    expect_error(StabilitySCRAE(counts, resolution = 1:2), "resolution must be one number")
    expect_error(CrossValidateSCRAE(counts, share = NA), "share must be one number")
})

test_that("both doors tell the same event in the same words", {
    line <- paste0(
        '{"event": "error", "kinds": ["Refusal", "ValueError"], "text": "adata.obs[...]", ',
        '"code": "single_cell_levels", "fields": {"column": "donor", "n": 1, "names": ["alone"]}}'
    )
    of_worker <- said(scRAE:::pass_on(
        scRAE:::take_event(scRAE:::read_event(line), list(told = list()), NULL)$told, "the matrix"
    ))
    # What run_in_session() of Python gives: lines, as reticulate hands them over.
    of_session <- said(scRAE:::pass_on(lapply(c(line), scRAE:::read_event), "the matrix"))
    expect_identical(of_session, of_worker)
    expect_match(of_session, "1 level of column 'donor' has a single cell ('alone')", fixed = TRUE)
    expect_identical(attr(of_session, "classes")[1:5], c(
        "scrae_single_cell_levels", "Refusal", "ValueError", "scrae_python_error", "scrae_error"
    ))
})

test_that("what has no words of R is said to be Python's", {
    event <- list(event = "error", kinds = "KeyError", text = "'x'", code = "other", fields = list())
    expect_error(scRAE:::pass_on(list(event), "the matrix"),
        "no words of its own for (KeyError): 'x'",
        fixed = TRUE, class = "scrae_python_error"
    )
})

test_that("the description of a model is no place to look elsewhere", {
    model <- unclass(scRAE:::find_model(trained()))
    model[["scrae.json"]] <- charToRaw("http://127.0.0.1:9/description.json")
    expect_error(
        scRAE:::describe_model(structure(model, class = "scrae_model")),
        "scrae.json of this model is damaged",
        class = "scrae_damaged_file"
    )
})
