"""The model as one module: encoder, decoder, likelihood, library size and regulariser put together."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from scrae.autoencoder.contrast import contrastive_loss, nt_xent
from scrae.autoencoder.forward_pass import ForwardPass
from scrae.autoencoder.linking import cannot_link_loss, must_link_loss
from scrae.autoencoder.partners import partner_groups
from scrae.autoencoder.settings import Settings
from scrae.data.count_rows import CountRows
from scrae.data.covariates import Covariates
from scrae.data.minibatches import CountData, LinkedCells, Minibatch
from scrae.data.transforms import CountTransform
from scrae.likelihoods import Likelihood
from scrae.networks.layers import Encoder, GaussianNoise, HiddenLayers
from scrae.networks.library_size import LearnedLibrary, log_library_size
from scrae.networks.masking import masked
from scrae.regularisers import Regulariser
from scrae.regularisers.phases import Phase, always

LIBRARY_CELLS = 1024  # cells whose library sizes are computed at once


class RegularisedAutoencoder(nn.Module):
    """reconstruction(x, D(E(x))) + divergence(Q(z), P(z)), see MODEL in the documentation.

    Parameters
    ----------
    settings
        Every choice of the model.
    n_genes
        Number of modelled genes.
    n_covariates
        Width of what the decoder is told of covariates: a column for each level and each number.
    n_batches
        Number of batches (1 without batches).
    """

    partners: Tensor  # group of each batch within which the contrastive term tells cells apart

    def __init__(self, settings: Settings, n_genes: int, n_covariates: int, n_batches: int) -> None:
        super().__init__()
        self.settings = settings
        layers = (settings.normalisation, settings.activation)
        decoder_dropout = settings.decoder_dropout_rate
        regulariser = Regulariser.registry[settings.regulariser]
        likelihood = Likelihood.registry[settings.likelihood]
        self.encoder = Encoder(
            HiddenLayers(n_genes, settings.n_hidden, *layers, settings.dropout_rate, settings.noise_sd, of_genes=True),
            settings.n_latent * regulariser.outputs_per_dimension,
            settings.standardise_codes and not regulariser.sets_scale,
        )
        self.decoder = HiddenLayers(
            settings.n_latent + n_covariates,
            settings.decoder_hidden or settings.n_hidden[::-1],
            *layers,
            settings.dropout_rate if decoder_dropout is None else decoder_dropout,
        )
        self.likelihood = likelihood(
            self.decoder.n_output, n_genes, n_batches if settings.dispersion == "gene-batch" else 1
        )
        self.library = (
            LearnedLibrary(self.encoder.hidden.n_output, settings.library_weight)
            if settings.library == "learned"
            else None
        )
        self.input_transform = CountTransform(settings.input_transform, n_genes)
        self.target_transform = CountTransform(settings.target or likelihood.target, n_genes)
        self.regulariser = regulariser(settings.n_latent, **settings.regulariser_options)
        self.regulariser.connect(n_genes, self.decoder.n_output)
        self.noise = GaussianNoise(settings.noise_sd)
        # Not stored: it follows from the training cells, and nothing but training asks for it.
        self.register_buffer("partners", torch.arange(n_batches), persistent=False)

    def fit_constants(self, counts: sp.csr_array, batch: np.ndarray | None = None) -> None:
        """Take from the training counts what is computed once: scales, moments of the library size, similar batches.

        ``batch`` is the code of each cell's batch, int (n_cells,); None: there are none.
        """
        self.input_transform.fit(counts)
        self.target_transform.fit(counts)
        self.likelihood.fit(self.target_transform)
        if self.library is not None:
            self.library.fit(self.log_libraries(counts))
        if batch is not None and self.settings.contrast_weight:
            found = partner_groups(counts, batch, len(self.partners), self.settings.batch_size)
            self.partners.copy_(torch.as_tensor(found))

    def log_libraries(self, counts: sp.csr_array) -> np.ndarray:
        """log library sizes of all cells, on the scale of the target, float64 (n_cells,)."""
        data = CountData(counts, Covariates.none(counts.shape[0]), torch.device("cpu"))
        rows = data.row_of_every(lambda minibatch: self.observed_log_library(minibatch.counts), LIBRARY_CELLS)
        return rows.double().numpy()

    def observed_log_library(self, counts: CountRows) -> Tensor:
        """log total of each cell, (n_cells,): of its counts, or of the target where that is another scale."""
        normalised = self.target_transform.kind in ("lognorm", "scaled")
        return log_library_size(counts if normalised else self.target_transform(counts))

    def encoder_input(self, counts: CountRows) -> CountRows | Tensor:
        """Transformed counts, (n_cells, n_genes); in training a :meth:`view` of them."""
        return self.view(self.input_transform(counts))

    def view(self, transformed: CountRows) -> CountRows | Tensor:
        """In training, transformed counts with a part of the entries hidden, and noise: another one at each call.

        Entries that are left are scaled up, as dropout does, so that the encoder's sums have the same expectation as
        for the full counts that it is given after training. Dense only where nothing is zero: what is not stored is
        then hidden as well.
        """
        if not self.training:
            return transformed
        seen = masked(transformed, self.settings.mask_rate) if self.settings.mask_rate else transformed
        if not self.settings.noise_sd:
            return seen
        result: Tensor = self.noise(seen.dense() if isinstance(seen, CountRows) else seen)
        return result

    def _encoded(self, minibatch: Minibatch) -> tuple[Tensor, Tensor]:
        """Codes and last hidden layer as the embedding takes them: full counts, no noise, running statistics."""
        was_training = self.encoder.training
        self.encoder.eval()
        outputs, hidden = self.encoder(minibatch.transformed(self.input_transform))
        self.encoder.train(was_training)
        return self.regulariser.codes(outputs), hidden

    def encode(self, minibatch: Minibatch) -> Tensor:
        """Codes (n_cells, n_latent) as the embedding takes them, also in the middle of training.

        Of all cells of the minibatch, also where several processes share it.
        """
        return minibatch.rows.gather(self._encoded(minibatch)[0])

    def encode_hidden(self, minibatch: Minibatch) -> Tensor:
        """The encoder's last hidden layer (n_cells, n_hidden) of the same cells in the same way."""
        return minibatch.rows.gather(self._encoded(minibatch)[1])

    def features(self, minibatch: Minibatch) -> Tensor:
        """Both side by side, (n_cells, n_latent + n_hidden)."""
        return minibatch.rows.gather(torch.cat(self._encoded(minibatch), 1))

    def decode(self, codes: Tensor, covariates: Tensor, log_library: Tensor, batch: Tensor) -> tuple[Tensor, ...]:
        """Parameters of the likelihood for codes (n_cells, n_latent)."""
        result: tuple[Tensor, ...] = self.likelihood(self._decoded(codes, covariates), log_library, batch)
        return result

    def _decoded(self, codes: Tensor, covariates: Tensor) -> Tensor:
        """Last hidden layer of the decoder, (n_cells, n_hidden)."""
        result: Tensor = self.decoder(torch.cat([codes, covariates], dim=1))
        return result

    def to_counts(self, values: Tensor) -> Tensor:
        """Decoder means or draws, on the scale of the target, as counts."""
        return self.target_transform.inverse(values)

    def forward_pass(self, minibatch: Minibatch) -> ForwardPass:
        """A minibatch through the autoencoder as in training."""
        rows = minibatch.rows
        seen = self.view(minibatch.transformed(self.input_transform))
        own_outputs, hidden = self.encoder(seen)
        outputs = rows.gather(own_outputs)
        posterior = self.regulariser.posterior(outputs)
        codes = self.regulariser.sample_codes(posterior)
        library_kl = None
        if self.library is None:
            log_library = self.observed_log_library(minibatch.counts)
        else:
            every_log_library, library_kl = self.library.draw(rows.gather(hidden))
            log_library = rows.own(every_log_library)
        decoded = self._decoded(rows.own(codes), minibatch.covariates)
        target = self.target_transform(minibatch.counts)
        return ForwardPass(
            self.likelihood,
            self.encode,
            minibatch,
            seen,
            outputs,
            posterior,
            codes,
            decoded,
            log_library,
            library_kl,
            target,
        )

    def losses(self, minibatch: Minibatch) -> dict[str, Tensor]:
        """L_AE and its parts, means over cells, in nats.

        ``autoencoder`` (what is minimised), ``reconstruction`` (-log p summed over genes), the regulariser's penalties,
        ``contrast`` where there are two views, ``must_link`` and ``cannot_link`` where cells are linked, and
        ``library_kl`` where the library size is learned.
        """
        passed = self.forward_pass(minibatch)
        reconstruction = -passed.log_prob.mean()
        penalties = self.regulariser.penalties(passed)
        if self.settings.contrast_weight and self.settings.mask_rate:
            penalties["contrast"] = self.settings.contrast_weight * self.contrast(passed)
        if minibatch.linked is not None:
            penalties |= self.link_penalties(minibatch.linked)
        if passed.library_kl is not None:
            penalties["library_kl"] = passed.library_kl
        minimised = reconstruction / self.likelihood.n_genes if self.settings.per_gene else reconstruction
        total = minimised + sum(penalties.values(), torch.zeros_like(reconstruction))
        return {"autoencoder": total, "reconstruction": reconstruction, **penalties}

    def contrast(self, passed: ForwardPass) -> Tensor:
        """How badly the cells of one view are found again in another one, scalar."""
        minibatch = passed.minibatch
        other = self.encoder(self.view(minibatch.transformed(self.input_transform)))[0]
        codes = self.regulariser.codes(passed.outputs)
        other_codes = self.regulariser.codes(minibatch.rows.gather(other))
        loss = nt_xent if self.settings.contrast_own_view else contrastive_loss
        return loss(codes, other_codes, self.partners[minibatch.batch], self.settings.contrast_temperature)

    def link_penalties(self, linked: LinkedCells) -> dict[str, Tensor]:
        """How badly the codes agree with what is known of pairs of cells, weighted, scalars by name.

        Zero while the regulariser is preparing for its real objective.
        """
        settings, penalties = self.settings, {}
        if self.regulariser.preparing:
            return {kind: linked.minibatch.covariates.new_zeros(()) for kind in linked.kinds}
        one, other, apart, from_other = linked.pairs(self.encode(linked.minibatch))
        if linked.n_must:
            loss = must_link_loss(self.regulariser.together(one, other))
            penalties["must_link"] = settings.must_link_weight * loss
        if linked.n_cannot:
            loss = cannot_link_loss(self.regulariser.together(apart, from_other))
            penalties["cannot_link"] = settings.cannot_link_weight * loss
        return penalties

    def log_library(self, minibatch: Minibatch) -> Tensor:
        """log library size of each cell, (n_cells,): observed, or the encoder's mean of it. Evaluation mode."""
        if self.library is None:
            return self.observed_log_library(minibatch.counts)
        _, hidden = self.encoder(self.encoder_input(minibatch.counts))
        result: Tensor = self.library(hidden)
        return result

    def negative_log_likelihood(self, minibatch: Minibatch) -> Tensor:
        """-log p(x | E(x)) of each cell, summed over genes, (n_cells,). Evaluation mode: nothing is hidden or drawn."""
        rows = minibatch.rows
        decoded = self._decoded(rows.own(self.encode(minibatch)), minibatch.covariates)
        log_library, target = self.log_library(minibatch), self.target_transform(minibatch.counts)
        return -rows.gather(self.likelihood.log_prob(decoded, log_library, rows.own(minibatch.batch), target))

    @property
    def learning_rate(self) -> float:
        """Of the autoencoder's own phase."""
        return self.settings.learning_rate

    def encoder_parameters(self) -> list[nn.Parameter]:
        """What moves the codes."""
        return list(self.encoder.parameters())

    def phases(self) -> list[Phase]:
        """The table of the training loop: the autoencoder in every iteration, then what the regulariser adds."""
        autoencoder: list[nn.Parameter] = [
            *(p for name, p in self.named_parameters() if not name.startswith("regulariser.")),
            *self.regulariser.penalty_parameters(),
        ]
        settings = self.settings
        return [
            Phase(
                "autoencoder",
                autoencoder,
                self.learning_rate,
                (0.9, 0.999),
                always,
                self.losses,
                eps=settings.adam_eps,
                weight_decay=settings.weight_decay,
                clip_gradient=settings.clip_gradient,
            ),
            *self.regulariser.phases(self),
        ]
