"""Money that goes back: what Stripe has of an invoice, what was returned of it, and how to return the rest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Statuses of a refund: https://docs.stripe.com/api/refunds/object#refund_object-status.
SUCCEEDED = "succeeded"
REFUND_FAILED = frozenset({"failed", "canceled"})
LOST = "lost"
# Resolved before it became a chargeback, with or without giving the money back:
# https://docs.stripe.com/changelog/basil/2025-08-27/add-preventions-to-dispute
PREVENTED = "prevented"
VOID = "void"
SENT_OUTSIDE = "sent_outside_stripe"


@dataclass(frozen=True, slots=True)
class Reversal:
    """A refund, dispute or credit note in one of its statuses, or what was sent outside Stripe (contract 55)."""

    at_ms: int
    id: str
    """Stripe's; of what was sent outside Stripe, the operator's reference."""
    cause: str
    """`refund_succeeded`, `dispute_needs_response`, `credit_note_issued`, …: the kind and Stripe's status."""
    amount: int
    currency: str
    invoice_id: str | None = None
    """Whose payment was sent back outside Stripe; of its own objects, Stripe knows the invoice."""

    @property
    def failed(self) -> bool:
        """Whether it is a refund that did not reach the customer."""
        return self.cause in {f"refund_{status}" for status in REFUND_FAILED}


def gone_back(reversals: Iterable[Reversal], invoice_id: str | None) -> Reversal | None:
    """The first that gives back a payment of the invoice, or a part of it, by the last status of each; if any does."""
    last: dict[tuple[str, bool], Reversal] = {}
    for one in reversals:
        if one.invoice_id in {None, invoice_id}:  # Stripe's objects name none
            last[one.id, one.cause == SENT_OUTSIDE] = one
    return next((one for one in last.values() if _gives_back(one)), None)


def _gives_back(one: Reversal) -> bool:
    if one.cause.startswith("refund_"):
        return not one.failed
    if one.cause.startswith("credit_note_"):
        return one.cause != f"credit_note_{VOID}"
    return one.cause in {f"dispute_{LOST}", f"dispute_{PREVENTED}", SENT_OUTSIDE}


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund at Stripe."""

    id: str
    status: str
    amount: int
    payment_intent: str
    ours: bool
    """Whether the operator's command made it."""

    @property
    def counts(self) -> bool:
        """Whether the money went back or is on its way."""
        return self.status not in REFUND_FAILED


@dataclass(frozen=True, slots=True)
class CreditNote:
    """A credit note at Stripe, with how it gave its amount back."""

    id: str
    status: str
    amount: int
    to_balance: int = 0
    out_of_band: int = 0
    refunds: frozenset[str] = frozenset()
    ours: bool = False

    @property
    def counts(self) -> bool:
        """Whether it was not voided."""
        return self.status != VOID


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute at Stripe."""

    id: str
    status: str
    amount: int
    payment_intent: str
    withdrawn: bool = False
    """Whether Stripe took its amount from the account's balance and did not reinstate it."""

    @property
    def gave_back(self) -> bool:
        """Whether it has given the money back: a prevented one may have, without a refund."""
        return self.status == LOST or (self.status == PREVENTED and self.withdrawn)


@dataclass(frozen=True, slots=True)
class Credit:
    """How the rest of an invoice is given back: one credit note, split as it was paid."""

    amount: int
    """Of the credit note; 0: it exists already, and a refund of it has failed."""
    refunds: Mapping[str, int] = field(default_factory=dict)
    """By payment intent."""
    to_balance: int = 0
    out_of_band: int = 0
    linked: Mapping[str, int] = field(default_factory=dict)
    """Earlier refunds, which the credit note names instead of refunding again."""


@dataclass(frozen=True, slots=True)
class PaidInvoice:
    """An invoice of a line with its payments, and with all that went back."""

    id: str
    status: str
    currency: str
    total: int
    amount_paid: int
    amount_remaining: int
    credited_unpaid: int
    """What credit notes took off before it was paid."""
    by_card: Mapping[str, int]
    """What each payment intent has paid."""
    refunds: tuple[Refund, ...] = ()
    credit_notes: tuple[CreditNote, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    sent_outside: int = 0
    """What an operator has sent back outside Stripe."""

    @property
    def settled(self) -> int:
        """What the customer gave for it: card, out of band, balance. A void gives a balance back by itself."""
        if self.status != "paid" and not self.partly_paid:
            return 0
        return max(0, self.total - self.credited_unpaid - self.amount_remaining)

    @property
    def partly_paid(self) -> bool:
        """Whether money came in and some is still owed."""
        return self.status in {"open", "uncollectible"} and self.amount_paid > 0

    @property
    def credited_in_full(self) -> bool:
        """Whether its credit notes reach its total, which makes an open invoice paid with nothing paid."""
        return 0 < self.total <= sum(note.amount for note in self.credit_notes if note.counts)

    @property
    def kept(self) -> int:
        """What neither Stripe nor an operator says to have gone back (contract 55)."""
        returned = sum(refund.amount for refund in self.refunds if refund.status == SUCCEEDED)
        return max(0, self.settled - returned - self._returned_otherwise)

    @property
    def to_return(self) -> int:
        """What neither went back nor is on its way."""
        return max(0, self._left)

    @property
    def overpaid(self) -> int:
        """What went back, or is on its way, beyond what was paid."""
        return max(0, -self._left)

    @property
    def _left(self) -> int:
        returned = sum(refund.amount for refund in self.refunds if refund.counts)
        return self.settled - returned - self._returned_otherwise

    @property
    def _returned_otherwise(self) -> int:
        notes = sum(note.to_balance + note.out_of_band for note in self.credit_notes if note.counts)
        return notes + sum(dispute.amount for dispute in self.disputes if dispute.gave_back) + self.sent_outside

    def credit(self) -> Credit | None:
        """Gives back what was paid, and takes off what is still owed; None when there is nothing left to do."""
        if not self.to_return and not self.partly_paid:
            return None
        notes = [note for note in self.credit_notes if note.counts]
        named = frozenset[str]().union(*(note.refunds for note in notes))
        unnamed = {refund.id: refund.amount for refund in self.refunds if refund.counts and refund.id not in named}
        creditable = self.total - sum(note.amount for note in notes)
        amount = max(0, min(creditable, self.amount_remaining + self.to_return + sum(unnamed.values())))
        # Of what was paid, a credit note takes no more than its amount; what is left comes without one.
        room = max(0, amount - self.amount_remaining)
        linked: dict[str, int] = {}
        for refund, refunded in unnamed.items():
            if part := min(refunded, room):
                linked[refund] = part
                room -= part
        left = min(self.to_return, room) if amount else self.to_return
        refunds: dict[str, int] = {}
        for intent, refundable in self._refundable().items():
            part = min(left, refundable)
            if part > 0:
                refunds[intent] = part
                left -= part
        if not amount:
            return Credit(0, refunds) if refunds else None
        paid_elsewhere = self.amount_paid - sum(self.by_card.values()) - sum(note.out_of_band for note in notes)
        out_of_band = max(0, min(left, paid_elsewhere))
        return Credit(amount, refunds, left - out_of_band, out_of_band, linked)

    def _refundable(self) -> dict[str, int]:
        """What is left of each card payment; Stripe refunds no more than was charged."""
        left = dict(self.by_card)
        for refund in self.refunds:
            if refund.counts and refund.payment_intent in left:
                left[refund.payment_intent] -= refund.amount
        for dispute in self.disputes:
            if dispute.gave_back and dispute.payment_intent in left:
                left[dispute.payment_intent] -= dispute.amount
        return left

    def reversals(self, at_ms: int) -> list[tuple[Reversal, bool]]:
        """All that went back of it, each with whether the operator's command made it."""
        by_our_notes = frozenset[str]().union(*(note.refunds for note in self.credit_notes if note.ours))
        found: list[tuple[str, Refund | CreditNote | Dispute, bool]] = []
        found += [("refund", one, one.ours or one.id in by_our_notes) for one in self.refunds]
        found += [("credit_note", one, one.ours) for one in self.credit_notes]
        found += [("dispute", one, False) for one in self.disputes]
        return [
            (Reversal(at_ms, one.id, f"{kind}_{one.status}", one.amount, self.currency), ours)
            for kind, one, ours in found
        ]
