-- The gateway's database. Instants are RFC 3339 text in UTC with microseconds (so that text order is time order),
-- money is integer cents, energy integer watt-hours. What is insert-only is guarded by triggers at the end.

CREATE TABLE account (
    account_id        TEXT PRIMARY KEY,
    meter_id          TEXT NOT NULL,
    name              TEXT NOT NULL,
    customer_class    TEXT NOT NULL,
    tariff            TEXT NOT NULL,
    program           TEXT NOT NULL,
    low_balance_cents INTEGER,
    enrolled_at       TEXT NOT NULL,
    first_day         TEXT NOT NULL,
    enrolled_by       TEXT NOT NULL,
    email             TEXT NOT NULL,
    phone             TEXT NOT NULL,
    notice_channels   TEXT NOT NULL
) STRICT;
CREATE INDEX account_meter ON account(meter_id);
CREATE INDEX account_display ON account(account_id) WHERE instr(notice_channels, 'display') > 0;

-- last_day: the civil day with whose close the account's charges end.
CREATE TABLE unenrolment (
    account_id TEXT PRIMARY KEY REFERENCES account,
    at         TEXT NOT NULL,
    last_day   TEXT NOT NULL,
    reason     TEXT NOT NULL,
    by         TEXT NOT NULL
) STRICT;

-- An account's tariffs after the one it was enrolled with; of two from one day on, the one recorded last counts.
CREATE TABLE tariff_change (
    change_id   INTEGER PRIMARY KEY,
    account_id  TEXT NOT NULL REFERENCES account,
    tariff      TEXT NOT NULL,
    first_day   TEXT NOT NULL CHECK (first_day IS date(first_day)),
    recorded_at TEXT NOT NULL,
    by          TEXT NOT NULL
) STRICT;
CREATE INDEX tariff_change_account ON tariff_change(account_id, first_day, change_id);

CREATE TABLE reading (
    meter_id   TEXT NOT NULL,
    at         TEXT NOT NULL,
    energy_wh  INTEGER NOT NULL,
    power_w    INTEGER,
    relay      TEXT NOT NULL,
    accepted   INTEGER NOT NULL,
    flags      TEXT NOT NULL,
    PRIMARY KEY (meter_id, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE meter_link (
    meter_id   TEXT PRIMARY KEY,
    state      TEXT NOT NULL,
    since      TEXT NOT NULL,
    last_error TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE relay_change (
    change_id INTEGER PRIMARY KEY,
    meter_id  TEXT NOT NULL,
    at        TEXT NOT NULL,
    relay     TEXT NOT NULL,
    cause     TEXT NOT NULL,
    order_id  INTEGER
) STRICT;
CREATE INDEX relay_change_meter ON relay_change(meter_id, change_id);

-- What is not as it should be with a meter; of the rows with one meter and condition the last one counts.
CREATE TABLE meter_condition (
    condition_row INTEGER PRIMARY KEY,
    meter_id      TEXT NOT NULL,
    condition     TEXT NOT NULL,
    in_force      INTEGER NOT NULL CHECK (in_force IN (0, 1)),
    at            TEXT NOT NULL,
    data          TEXT NOT NULL
) STRICT;
CREATE INDEX meter_condition_meter ON meter_condition(meter_id, condition, condition_row);

-- seal: a hash of the row's other columns, in the tables of money, so that the audit sees a change of any of them.

-- Double entry. The entries of a transaction are inserted first, the transaction itself last: its trigger checks that
-- they sum to zero, and nothing can be added to it afterwards. Debit is positive.
CREATE TABLE ledger_entry (
    entry_id       INTEGER PRIMARY KEY,
    transaction_id INTEGER NOT NULL REFERENCES ledger_transaction DEFERRABLE INITIALLY DEFERRED,
    ledger_account TEXT NOT NULL CHECK (
        ledger_account GLOB 'assets:?*' OR ledger_account GLOB 'liabilities:?*' OR ledger_account GLOB 'revenue:?*'
        OR ledger_account GLOB 'clearing:?*'
    ),
    amount_cents   INTEGER NOT NULL CHECK (amount_cents <> 0),
    balance_after  INTEGER NOT NULL,
    entry_hash     TEXT NOT NULL
) STRICT;
CREATE INDEX ledger_entry_account ON ledger_entry(ledger_account, entry_id);
CREATE INDEX ledger_entry_transaction ON ledger_entry(transaction_id);

CREATE TABLE ledger_transaction (
    transaction_id INTEGER PRIMARY KEY,
    kind           TEXT NOT NULL CHECK (kind IN (
        'opening', 'payment', 'charge', 'adjustment', 'reversal', 'returned_payment', 'deposit',
        'miscellaneous_charge', 'credit', 'instalments', 'refund'
    )),
    account_id     TEXT NOT NULL REFERENCES account,
    day            TEXT NOT NULL CHECK (day IS date(day)),
    ref            TEXT NOT NULL UNIQUE,
    posted_at      TEXT NOT NULL,
    received_at    TEXT NOT NULL,
    posted_by      TEXT NOT NULL,
    note           TEXT NOT NULL,
    estimated      INTEGER NOT NULL CHECK (estimated IN (0, 1)),
    reverses       INTEGER REFERENCES ledger_transaction CHECK (reverses < transaction_id),
    last_entry_id  INTEGER NOT NULL,
    chain_hash     TEXT NOT NULL,
    CHECK (kind NOT IN ('reversal', 'returned_payment') OR reverses IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX ledger_transaction_undone_once ON ledger_transaction(reverses)
WHERE kind IN ('reversal', 'returned_payment');
CREATE INDEX ledger_transaction_account ON ledger_transaction(account_id, transaction_id);

CREATE TABLE balance (
    ledger_account TEXT PRIMARY KEY,
    cents          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- paid_at: as it was told; made_at: when the payment counts as made. What is returned before it came waits.
CREATE TABLE payment (
    payment_id       TEXT PRIMARY KEY,
    account_id       TEXT NOT NULL REFERENCES account,
    amount_cents     INTEGER NOT NULL CHECK (amount_cents > 0),
    to_arrears_cents INTEGER NOT NULL CHECK (to_arrears_cents >= 0),
    to_balance_cents INTEGER NOT NULL CHECK (to_balance_cents >= 0),
    paid_at          TEXT,
    made_at          TEXT NOT NULL,
    channel          TEXT NOT NULL,
    source           TEXT NOT NULL CHECK (source IN ('customer', 'LIHEAP', 'third_party_tariff', 'third_party')),
    received_at      TEXT NOT NULL,
    transaction_id   INTEGER NOT NULL UNIQUE REFERENCES ledger_transaction,
    seal             TEXT NOT NULL,
    CHECK (to_arrears_cents + to_balance_cents = amount_cents),
    CHECK (made_at <= received_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX payment_account ON payment(account_id, received_at);

CREATE TABLE returned_payment (
    payment_id     TEXT PRIMARY KEY REFERENCES payment,
    account_id     TEXT NOT NULL REFERENCES account,
    returned_at    TEXT NOT NULL,
    fee_cents      INTEGER NOT NULL CHECK (fee_cents >= 0),
    reason         TEXT NOT NULL,
    transaction_id INTEGER NOT NULL UNIQUE REFERENCES ledger_transaction,
    seal           TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX returned_payment_account ON returned_payment(account_id);

CREATE TABLE awaited_payment (
    payment_id  TEXT PRIMARY KEY,
    returned_at TEXT NOT NULL,
    fee_cents   INTEGER NOT NULL CHECK (fee_cents >= 0),
    reason      TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    by          TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Charges such as a cut seal, and credits; a credit may take back a charge, in parts too.
CREATE TABLE miscellaneous (
    item_id        TEXT PRIMARY KEY,
    account_id     TEXT NOT NULL REFERENCES account,
    nature         TEXT NOT NULL CHECK (nature IN ('charge', 'credit')),
    name           TEXT NOT NULL CHECK (name NOT LIKE '%connect%'),
    amount_cents   INTEGER NOT NULL CHECK (amount_cents > 0),
    reverses       TEXT REFERENCES miscellaneous,
    reason         TEXT NOT NULL CHECK (reason <> ''),
    recorded_at    TEXT NOT NULL,
    by             TEXT NOT NULL,
    transaction_id INTEGER NOT NULL UNIQUE REFERENCES ledger_transaction,
    seal           TEXT NOT NULL,
    CHECK (nature = 'credit' OR reverses IS NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX miscellaneous_account ON miscellaneous(account_id, recorded_at);
CREATE INDEX miscellaneous_reverses ON miscellaneous(reverses) WHERE reverses IS NOT NULL;

CREATE TABLE instalment_agreement (
    agreement_id   TEXT PRIMARY KEY,
    account_id     TEXT NOT NULL REFERENCES account,
    amount_cents   INTEGER NOT NULL CHECK (amount_cents > 0),
    reason         TEXT NOT NULL CHECK (reason <> ''),
    recorded_at    TEXT NOT NULL,
    by             TEXT NOT NULL,
    transaction_id INTEGER NOT NULL UNIQUE REFERENCES ledger_transaction,
    seal           TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX instalment_agreement_account ON instalment_agreement(account_id);

-- The settlement of a final bill: credit and deposit to old debt, the rest refunded; what lacks is billed outside.
CREATE TABLE refund (
    refund_id        TEXT PRIMARY KEY,
    account_id       TEXT NOT NULL REFERENCES account,
    balance_cents    INTEGER NOT NULL,
    deposit_cents    INTEGER NOT NULL CHECK (deposit_cents >= 0),
    to_arrears_cents INTEGER NOT NULL CHECK (to_arrears_cents >= 0),
    refunded_cents   INTEGER NOT NULL CHECK (refunded_cents >= 0),
    billed_cents     INTEGER NOT NULL CHECK (billed_cents >= 0),
    channel          TEXT NOT NULL,
    recorded_at      TEXT NOT NULL,
    by               TEXT NOT NULL,
    transaction_id   INTEGER NOT NULL UNIQUE REFERENCES ledger_transaction,
    seal             TEXT NOT NULL,
    CHECK (balance_cents + deposit_cents + billed_cents = to_arrears_cents + refunded_cents),
    CHECK (billed_cents = 0 OR refunded_cents = 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX refund_account ON refund(account_id);

-- The last revision of a day counts. charges: what it costs in full at this revision, by kind; transaction_id: the
-- posting that brought it there, an earlier revision's where the charges did not change.
CREATE TABLE day (
    account_id        TEXT NOT NULL REFERENCES account,
    day               TEXT NOT NULL,
    revision          INTEGER NOT NULL CHECK (revision >= 1),
    meter_id          TEXT NOT NULL,
    start_register_wh INTEGER NOT NULL,
    end_register_wh   INTEGER NOT NULL,
    energy_wh         INTEGER NOT NULL CHECK (energy_wh >= 0),
    quality           TEXT NOT NULL CHECK (quality IN ('actual', 'interpolated', 'customer', 'estimated', 'edited')),
    method            TEXT NOT NULL CHECK (method IN ('', 'three_prior_days', 'prior_year_five_reads', 'manual')),
    days_used         TEXT NOT NULL,
    reason            TEXT NOT NULL,
    by_period         TEXT NOT NULL,
    charges           TEXT NOT NULL,
    charge_cents      INTEGER NOT NULL,
    balance_cents     INTEGER NOT NULL,
    transaction_id    INTEGER NOT NULL REFERENCES ledger_transaction,
    closed_at         TEXT NOT NULL,
    seal              TEXT NOT NULL,
    PRIMARY KEY (account_id, day, revision)
) STRICT, WITHOUT ROWID;

-- The days whose last revision is an estimate, to find them fast.
CREATE TABLE estimated_day (
    account_id TEXT NOT NULL,
    day        TEXT NOT NULL,
    ends_at    TEXT NOT NULL,
    PRIMARY KEY (account_id, day)
) STRICT, WITHOUT ROWID;

-- The closed days at or after whose end no register of the gateway's own is known: they are found again when one is.
CREATE TABLE provisional_day (
    account_id TEXT NOT NULL,
    day        TEXT NOT NULL,
    ends_at    TEXT NOT NULL,
    PRIMARY KEY (account_id, day)
) STRICT, WITHOUT ROWID;

-- What follows from the days of an account's bill so far, kept so that a close need not add them up again: use in runs
-- of days (JSON: first day, Wh, by period, how many), charges by kind. A corrected day throws it away.
CREATE TABLE bill_to_date (
    account_id TEXT PRIMARY KEY REFERENCES account,
    begins     TEXT NOT NULL,
    last_day   TEXT NOT NULL,
    usage      TEXT NOT NULL,
    charged    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The manual queue: accounts with an open day that no rule may estimate.
CREATE TABLE manual_day (
    account_id TEXT PRIMARY KEY REFERENCES account,
    day        TEXT NOT NULL,
    why        TEXT NOT NULL CHECK (why IN ('first_day', 'last_day', 'no_history', 'too_long')),
    reason     TEXT NOT NULL,
    listed_at  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Another meter took over at an instant, in the same place of the inventory.
CREATE TABLE meter_exchange (
    meter_id            TEXT NOT NULL,
    at                  TEXT NOT NULL,
    old_serial          TEXT NOT NULL,
    new_serial          TEXT NOT NULL,
    final_register_wh   INTEGER NOT NULL CHECK (final_register_wh >= 0),
    initial_register_wh INTEGER NOT NULL CHECK (initial_register_wh >= 0),
    reason              TEXT NOT NULL,
    recorded_at         TEXT NOT NULL,
    by                  TEXT NOT NULL,
    PRIMARY KEY (meter_id, at)
) STRICT, WITHOUT ROWID;

-- What a customer read off the meter and reported.
CREATE TABLE customer_read (
    meter_id    TEXT NOT NULL,
    at          TEXT NOT NULL,
    account_id  TEXT NOT NULL REFERENCES account,
    energy_wh   INTEGER NOT NULL CHECK (energy_wh >= 0),
    recorded_at TEXT NOT NULL,
    by          TEXT NOT NULL,
    PRIMARY KEY (meter_id, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX customer_read_at ON customer_read(at);

-- A day's use as a person said it: an estimate until reads cover the day, or final. Of several the last one counts.
CREATE TABLE day_edit (
    edit_id     INTEGER PRIMARY KEY,
    account_id  TEXT NOT NULL REFERENCES account,
    day         TEXT NOT NULL,
    standing    TEXT NOT NULL CHECK (standing IN ('estimate', 'final', 'withdrawn')),
    energy_wh   INTEGER NOT NULL CHECK (energy_wh >= 0),
    by_period   TEXT NOT NULL,
    reason      TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    by          TEXT NOT NULL
) STRICT;
CREATE INDEX day_edit_day ON day_edit(account_id, day, edit_id);

CREATE TABLE protection (
    account_id TEXT NOT NULL REFERENCES account,
    kind       TEXT NOT NULL,
    protected  INTEGER NOT NULL CHECK (protected IN (0, 1)),
    at         TEXT NOT NULL,
    by         TEXT NOT NULL
) STRICT;
CREATE INDEX protection_account ON protection(account_id);

-- Of the rows with one hold_id or order_name the last one counts, so that a new end is a row.
CREATE TABLE hold (
    hold_row        INTEGER PRIMARY KEY,
    hold_id         TEXT NOT NULL,
    account_id      TEXT NOT NULL REFERENCES account,
    kind            TEXT NOT NULL,
    starts_at       TEXT NOT NULL,
    until           TEXT,
    reason          TEXT NOT NULL,
    registered_late INTEGER NOT NULL CHECK (registered_late IN (0, 1)),
    recorded_at     TEXT NOT NULL,
    by              TEXT NOT NULL
) STRICT;
CREATE INDEX hold_id ON hold(hold_id, hold_row);
CREATE INDEX hold_account ON hold(account_id);

CREATE TABLE hold_release (
    hold_id     TEXT PRIMARY KEY,
    released_at TEXT NOT NULL,
    outcome     TEXT NOT NULL CHECK (outcome IN ('released', 'honoured', 'broken')),
    reason      TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    by          TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE moratorium (
    moratorium_id INTEGER PRIMARY KEY,
    order_name    TEXT NOT NULL,
    starts_at     TEXT NOT NULL,
    until         TEXT,
    reason        TEXT NOT NULL,
    ordered_by    TEXT NOT NULL,
    recorded_at   TEXT NOT NULL,
    by            TEXT NOT NULL
) STRICT;

-- The holds and moratoriums that are not over, to find them fast; told: the head end knows that it is in force.
CREATE TABLE live_restraint (
    kind TEXT NOT NULL CHECK (kind IN ('hold', 'moratorium')),
    name TEXT NOT NULL,
    told INTEGER NOT NULL CHECK (told IN (0, 1)),
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- A decision is written when it changes: action or the set of block codes.
CREATE TABLE decision (
    decision_id  INTEGER PRIMARY KEY,
    account_id   TEXT NOT NULL REFERENCES account,
    at           TEXT NOT NULL,
    action       TEXT NOT NULL,
    codes        TEXT NOT NULL,
    answer       TEXT NOT NULL,
    rules_digest TEXT NOT NULL
) STRICT;
CREATE INDEX decision_account ON decision(account_id, decision_id);
CREATE INDEX decision_wants ON decision(at, account_id) WHERE action = 'disconnect' OR codes = 'rate_limited';

-- Times without disconnects, because more accounts wanted one at once than can be right; who asked for the end, who gave it.
CREATE TABLE quarantine (
    quarantine_id INTEGER PRIMARY KEY,
    tripped_at    TEXT NOT NULL,
    wanting       INTEGER NOT NULL,
    active        INTEGER NOT NULL,
    most          INTEGER NOT NULL
) STRICT;

CREATE TABLE quarantine_step (
    step_id       INTEGER PRIMARY KEY,
    quarantine_id INTEGER NOT NULL REFERENCES quarantine,
    step          TEXT NOT NULL CHECK (step IN ('requested', 'released')),
    at            TEXT NOT NULL,
    by            TEXT NOT NULL,
    reason        TEXT NOT NULL
) STRICT;

-- What held for the whole gateway, written when it changes. feed: 'alive', or when the payment feed was last alive.
CREATE TABLE circumstance (
    circumstance_id      INTEGER PRIMARY KEY,
    at                   TEXT NOT NULL,
    running              INTEGER NOT NULL CHECK (running IN (0, 1)),
    clock_trusted        INTEGER NOT NULL CHECK (clock_trusted IN (0, 1)),
    feed                 TEXT NOT NULL,
    shadow_mode          INTEGER NOT NULL CHECK (shadow_mode IN (0, 1)),
    disconnects_per_hour INTEGER NOT NULL,
    disconnects_per_day  INTEGER NOT NULL,
    disconnects_per_meter INTEGER NOT NULL,
    share_of_line_ppm    INTEGER NOT NULL,
    rules_digest         TEXT NOT NULL
) STRICT;

-- The programs' text by the digest that decisions name: JSON, name -> TOML.
CREATE TABLE rules (
    digest  TEXT PRIMARY KEY,
    kept_at TEXT NOT NULL,
    texts   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- cause: credit, the rules ask for it; manual, a person does; safety, for a hazard or because it is over; late, a
-- disconnect of ours moved the relay after it was given up. decision_id: what was decided about the account then.
CREATE TABLE switch_order (
    order_id    INTEGER PRIMARY KEY,
    meter_id    TEXT NOT NULL,
    account_id  TEXT NOT NULL REFERENCES account,
    action      TEXT NOT NULL CHECK (action IN ('disconnect', 'reconnect')),
    cause       TEXT NOT NULL CHECK (cause IN ('credit', 'manual', 'safety', 'late')),
    not_after   TEXT,
    decision_id INTEGER NOT NULL REFERENCES decision,
    reason      TEXT NOT NULL,
    by          TEXT NOT NULL,
    CHECK (action = 'reconnect' OR (not_after IS NOT NULL AND cause <> 'late'))
) STRICT;
CREATE INDEX switch_order_meter ON switch_order(meter_id, order_id);

CREATE TABLE switch_event (
    event_id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES switch_order,
    at       TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('wanted', 'sent', 'confirmed', 'expired', 'cancelled', 'failed')),
    detail   TEXT NOT NULL
) STRICT;
CREATE INDEX switch_event_sent ON switch_event(at) WHERE state = 'sent';
CREATE INDEX switch_event_order ON switch_event(order_id, event_id);

-- The orders whose last event is wanted or sent, so that they are found without reading the whole journal.
CREATE TABLE live_order (
    order_id INTEGER PRIMARY KEY REFERENCES switch_order,
    state    TEXT NOT NULL CHECK (state IN ('wanted', 'sent'))
) STRICT;

CREATE TABLE notice (
    notice_id  TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES account,
    type       TEXT NOT NULL,
    channel    TEXT NOT NULL,
    text       TEXT NOT NULL,
    event_key  TEXT NOT NULL,
    entry_id   INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (event_key, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX notice_account ON notice(account_id, type, entry_id);
CREATE INDEX notice_display ON notice(account_id, created_at) WHERE channel = 'display';

CREATE TABLE notice_delivery (
    notice_id TEXT NOT NULL REFERENCES notice,
    stage     TEXT NOT NULL CHECK (stage IN ('sent', 'delivered')),
    at        TEXT NOT NULL,
    PRIMARY KEY (notice_id, stage)
) STRICT, WITHOUT ROWID;

-- What notices remember from one posting to the next: levels that were told and not armed again, a ban that held.
CREATE TABLE notice_mark (
    account_id TEXT NOT NULL REFERENCES account,
    mark       TEXT NOT NULL,
    PRIMARY KEY (account_id, mark)
) STRICT, WITHOUT ROWID;

-- sent_at: when the next one had it, or when it was given up.
CREATE TABLE outbox (
    outbox_id  INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    payload    TEXT NOT NULL,
    created_at TEXT NOT NULL,
    sent_at    TEXT
) STRICT;
CREATE INDEX outbox_waiting ON outbox(outbox_id) WHERE sent_at IS NULL AND kind <> 'email';
CREATE INDEX outbox_mail ON outbox(outbox_id) WHERE sent_at IS NULL AND kind = 'email';

-- body: the document as it came, deflated (zlib), a tenth of its size: they are kept for ever.
CREATE TABLE weather_document (
    document_id INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL,
    received_at TEXT NOT NULL,
    digest      TEXT NOT NULL,
    body        BLOB NOT NULL
) STRICT;
CREATE INDEX weather_document_kind ON weather_document(kind, document_id);

CREATE TABLE rejected (
    rejected_id INTEGER PRIMARY KEY,
    at          TEXT NOT NULL,
    source      TEXT NOT NULL,
    payload     TEXT NOT NULL,
    reason      TEXT NOT NULL
) STRICT;

CREATE TABLE event (
    event_id INTEGER PRIMARY KEY,
    at       TEXT NOT NULL,
    kind     TEXT NOT NULL,
    data     TEXT NOT NULL
) STRICT;

-- What the daemon knows of itself, for readers while it is away: one row a fact.
CREATE TABLE gateway_state (
    fact  TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    at    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER entries_come_before_their_transaction BEFORE INSERT ON ledger_entry
WHEN EXISTS (SELECT 1 FROM ledger_transaction WHERE transaction_id = NEW.transaction_id)
BEGIN SELECT RAISE(ABORT, 'a posted transaction takes no further entries'); END;

CREATE TRIGGER a_transaction_sums_to_zero BEFORE INSERT ON ledger_transaction
WHEN (SELECT coalesce(sum(amount_cents), 0) FROM ledger_entry WHERE transaction_id = NEW.transaction_id) <> 0
BEGIN SELECT RAISE(ABORT, 'the entries of a transaction must sum to zero'); END;

CREATE TRIGGER a_charge_is_taken_back_once BEFORE INSERT ON miscellaneous WHEN NEW.reverses IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a credit takes back a charge of its own account, and no more than is left of it')
    WHERE NEW.amount_cents > coalesce(
        (SELECT c.amount_cents FROM miscellaneous c
         WHERE c.item_id = NEW.reverses AND c.nature = 'charge' AND c.account_id = NEW.account_id), 0)
        - (SELECT coalesce(sum(t.amount_cents), 0) FROM miscellaneous t WHERE t.reverses = NEW.reverses);
END;

-- INSERT OR REPLACE would delete a row without asking the triggers below.
CREATE TRIGGER ledger_entry_no_replace BEFORE INSERT ON ledger_entry
WHEN NEW.entry_id <= (SELECT max(entry_id) FROM ledger_entry)
BEGIN SELECT RAISE(ABORT, 'ledger_entry is insert-only, its entries come in order'); END;
CREATE TRIGGER ledger_transaction_no_replace BEFORE INSERT ON ledger_transaction
WHEN EXISTS (SELECT 1 FROM ledger_transaction WHERE transaction_id = NEW.transaction_id OR ref = NEW.ref)
BEGIN SELECT RAISE(ABORT, 'ledger_transaction is insert-only: the same fact is posted once'); END;
CREATE TRIGGER payment_no_replace BEFORE INSERT ON payment
WHEN EXISTS (SELECT 1 FROM payment WHERE payment_id = NEW.payment_id)
BEGIN SELECT RAISE(ABORT, 'payment is insert-only'); END;
CREATE TRIGGER returned_payment_no_replace BEFORE INSERT ON returned_payment
WHEN EXISTS (SELECT 1 FROM returned_payment WHERE payment_id = NEW.payment_id)
BEGIN SELECT RAISE(ABORT, 'returned_payment is insert-only'); END;
CREATE TRIGGER day_no_replace BEFORE INSERT ON day
WHEN EXISTS (SELECT 1 FROM day WHERE account_id = NEW.account_id AND day = NEW.day AND revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'day is insert-only'); END;
CREATE TRIGGER meter_exchange_no_replace BEFORE INSERT ON meter_exchange
WHEN EXISTS (SELECT 1 FROM meter_exchange WHERE meter_id = NEW.meter_id AND at = NEW.at)
BEGIN SELECT RAISE(ABORT, 'meter_exchange is insert-only'); END;
CREATE TRIGGER customer_read_no_replace BEFORE INSERT ON customer_read
WHEN EXISTS (SELECT 1 FROM customer_read WHERE meter_id = NEW.meter_id AND at = NEW.at)
BEGIN SELECT RAISE(ABORT, 'customer_read is insert-only'); END;
CREATE TRIGGER miscellaneous_no_replace BEFORE INSERT ON miscellaneous
WHEN EXISTS (SELECT 1 FROM miscellaneous WHERE item_id = NEW.item_id)
BEGIN SELECT RAISE(ABORT, 'miscellaneous is insert-only'); END;

-- Insert-only: a correction is a new row.
CREATE TRIGGER ledger_entry_no_update BEFORE UPDATE ON ledger_entry
BEGIN SELECT RAISE(ABORT, 'ledger_entry is insert-only'); END;
CREATE TRIGGER ledger_entry_no_delete BEFORE DELETE ON ledger_entry
BEGIN SELECT RAISE(ABORT, 'ledger_entry is insert-only'); END;
CREATE TRIGGER ledger_transaction_no_update BEFORE UPDATE ON ledger_transaction
BEGIN SELECT RAISE(ABORT, 'ledger_transaction is insert-only'); END;
CREATE TRIGGER ledger_transaction_no_delete BEFORE DELETE ON ledger_transaction
BEGIN SELECT RAISE(ABORT, 'ledger_transaction is insert-only'); END;
CREATE TRIGGER payment_no_update BEFORE UPDATE ON payment
BEGIN SELECT RAISE(ABORT, 'payment is insert-only'); END;
CREATE TRIGGER payment_no_delete BEFORE DELETE ON payment
BEGIN SELECT RAISE(ABORT, 'payment is insert-only'); END;
CREATE TRIGGER returned_payment_no_update BEFORE UPDATE ON returned_payment
BEGIN SELECT RAISE(ABORT, 'returned_payment is insert-only'); END;
CREATE TRIGGER returned_payment_no_delete BEFORE DELETE ON returned_payment
BEGIN SELECT RAISE(ABORT, 'returned_payment is insert-only'); END;
CREATE TRIGGER awaited_payment_no_update BEFORE UPDATE ON awaited_payment
BEGIN SELECT RAISE(ABORT, 'awaited_payment is insert-only'); END;
CREATE TRIGGER awaited_payment_no_delete BEFORE DELETE ON awaited_payment
BEGIN SELECT RAISE(ABORT, 'awaited_payment is insert-only'); END;
CREATE TRIGGER miscellaneous_no_update BEFORE UPDATE ON miscellaneous
BEGIN SELECT RAISE(ABORT, 'miscellaneous is insert-only'); END;
CREATE TRIGGER miscellaneous_no_delete BEFORE DELETE ON miscellaneous
BEGIN SELECT RAISE(ABORT, 'miscellaneous is insert-only'); END;
CREATE TRIGGER instalment_agreement_no_update BEFORE UPDATE ON instalment_agreement
BEGIN SELECT RAISE(ABORT, 'instalment_agreement is insert-only'); END;
CREATE TRIGGER instalment_agreement_no_delete BEFORE DELETE ON instalment_agreement
BEGIN SELECT RAISE(ABORT, 'instalment_agreement is insert-only'); END;
CREATE TRIGGER refund_no_update BEFORE UPDATE ON refund
BEGIN SELECT RAISE(ABORT, 'refund is insert-only'); END;
CREATE TRIGGER refund_no_delete BEFORE DELETE ON refund
BEGIN SELECT RAISE(ABORT, 'refund is insert-only'); END;
CREATE TRIGGER day_no_update BEFORE UPDATE ON day
BEGIN SELECT RAISE(ABORT, 'day is insert-only'); END;
CREATE TRIGGER day_no_delete BEFORE DELETE ON day
BEGIN SELECT RAISE(ABORT, 'day is insert-only'); END;
CREATE TRIGGER meter_exchange_no_update BEFORE UPDATE ON meter_exchange
BEGIN SELECT RAISE(ABORT, 'meter_exchange is insert-only'); END;
CREATE TRIGGER meter_exchange_no_delete BEFORE DELETE ON meter_exchange
BEGIN SELECT RAISE(ABORT, 'meter_exchange is insert-only'); END;
CREATE TRIGGER customer_read_no_update BEFORE UPDATE ON customer_read
BEGIN SELECT RAISE(ABORT, 'customer_read is insert-only'); END;
CREATE TRIGGER customer_read_no_delete BEFORE DELETE ON customer_read
BEGIN SELECT RAISE(ABORT, 'customer_read is insert-only'); END;
CREATE TRIGGER day_edit_no_update BEFORE UPDATE ON day_edit
BEGIN SELECT RAISE(ABORT, 'day_edit is insert-only'); END;
CREATE TRIGGER day_edit_no_delete BEFORE DELETE ON day_edit
BEGIN SELECT RAISE(ABORT, 'day_edit is insert-only'); END;
CREATE TRIGGER unenrolment_no_update BEFORE UPDATE ON unenrolment
BEGIN SELECT RAISE(ABORT, 'unenrolment is insert-only'); END;
CREATE TRIGGER unenrolment_no_delete BEFORE DELETE ON unenrolment
BEGIN SELECT RAISE(ABORT, 'unenrolment is insert-only'); END;
CREATE TRIGGER tariff_change_no_update BEFORE UPDATE ON tariff_change
BEGIN SELECT RAISE(ABORT, 'tariff_change is insert-only'); END;
CREATE TRIGGER tariff_change_no_delete BEFORE DELETE ON tariff_change
BEGIN SELECT RAISE(ABORT, 'tariff_change is insert-only'); END;
CREATE TRIGGER protection_no_update BEFORE UPDATE ON protection
BEGIN SELECT RAISE(ABORT, 'protection is insert-only'); END;
CREATE TRIGGER protection_no_delete BEFORE DELETE ON protection
BEGIN SELECT RAISE(ABORT, 'protection is insert-only'); END;
CREATE TRIGGER hold_no_update BEFORE UPDATE ON hold
BEGIN SELECT RAISE(ABORT, 'hold is insert-only'); END;
CREATE TRIGGER hold_no_delete BEFORE DELETE ON hold
BEGIN SELECT RAISE(ABORT, 'hold is insert-only'); END;
CREATE TRIGGER hold_release_no_update BEFORE UPDATE ON hold_release
BEGIN SELECT RAISE(ABORT, 'hold_release is insert-only'); END;
CREATE TRIGGER hold_release_no_delete BEFORE DELETE ON hold_release
BEGIN SELECT RAISE(ABORT, 'hold_release is insert-only'); END;
CREATE TRIGGER moratorium_no_update BEFORE UPDATE ON moratorium
BEGIN SELECT RAISE(ABORT, 'moratorium is insert-only'); END;
CREATE TRIGGER moratorium_no_delete BEFORE DELETE ON moratorium
BEGIN SELECT RAISE(ABORT, 'moratorium is insert-only'); END;
CREATE TRIGGER decision_no_update BEFORE UPDATE ON decision
BEGIN SELECT RAISE(ABORT, 'decision is insert-only'); END;
CREATE TRIGGER decision_no_delete BEFORE DELETE ON decision
BEGIN SELECT RAISE(ABORT, 'decision is insert-only'); END;
CREATE TRIGGER circumstance_no_update BEFORE UPDATE ON circumstance
BEGIN SELECT RAISE(ABORT, 'circumstance is insert-only'); END;
CREATE TRIGGER circumstance_no_delete BEFORE DELETE ON circumstance
BEGIN SELECT RAISE(ABORT, 'circumstance is insert-only'); END;
CREATE TRIGGER rules_no_update BEFORE UPDATE ON rules
BEGIN SELECT RAISE(ABORT, 'rules is insert-only'); END;
CREATE TRIGGER rules_no_delete BEFORE DELETE ON rules
BEGIN SELECT RAISE(ABORT, 'rules is insert-only'); END;
CREATE TRIGGER switch_order_no_update BEFORE UPDATE ON switch_order
BEGIN SELECT RAISE(ABORT, 'switch_order is insert-only'); END;
CREATE TRIGGER switch_order_no_delete BEFORE DELETE ON switch_order
BEGIN SELECT RAISE(ABORT, 'switch_order is insert-only'); END;
CREATE TRIGGER switch_event_no_update BEFORE UPDATE ON switch_event
BEGIN SELECT RAISE(ABORT, 'switch_event is insert-only'); END;
CREATE TRIGGER switch_event_no_delete BEFORE DELETE ON switch_event
BEGIN SELECT RAISE(ABORT, 'switch_event is insert-only'); END;
CREATE TRIGGER relay_change_no_update BEFORE UPDATE ON relay_change
BEGIN SELECT RAISE(ABORT, 'relay_change is insert-only'); END;
CREATE TRIGGER relay_change_no_delete BEFORE DELETE ON relay_change
BEGIN SELECT RAISE(ABORT, 'relay_change is insert-only'); END;
CREATE TRIGGER quarantine_no_update BEFORE UPDATE ON quarantine
BEGIN SELECT RAISE(ABORT, 'quarantine is insert-only'); END;
CREATE TRIGGER quarantine_no_delete BEFORE DELETE ON quarantine
BEGIN SELECT RAISE(ABORT, 'quarantine is insert-only'); END;
CREATE TRIGGER quarantine_step_no_update BEFORE UPDATE ON quarantine_step
BEGIN SELECT RAISE(ABORT, 'quarantine_step is insert-only'); END;
CREATE TRIGGER quarantine_step_no_delete BEFORE DELETE ON quarantine_step
BEGIN SELECT RAISE(ABORT, 'quarantine_step is insert-only'); END;
CREATE TRIGGER meter_condition_no_update BEFORE UPDATE ON meter_condition
BEGIN SELECT RAISE(ABORT, 'meter_condition is insert-only'); END;
CREATE TRIGGER meter_condition_no_delete BEFORE DELETE ON meter_condition
BEGIN SELECT RAISE(ABORT, 'meter_condition is insert-only'); END;
CREATE TRIGGER notice_no_update BEFORE UPDATE ON notice
BEGIN SELECT RAISE(ABORT, 'notice is insert-only'); END;
CREATE TRIGGER notice_no_delete BEFORE DELETE ON notice
BEGIN SELECT RAISE(ABORT, 'notice is insert-only'); END;
CREATE TRIGGER notice_delivery_no_update BEFORE UPDATE ON notice_delivery
BEGIN SELECT RAISE(ABORT, 'notice_delivery is insert-only'); END;
CREATE TRIGGER notice_delivery_no_delete BEFORE DELETE ON notice_delivery
BEGIN SELECT RAISE(ABORT, 'notice_delivery is insert-only'); END;
CREATE TRIGGER rejected_no_update BEFORE UPDATE ON rejected
BEGIN SELECT RAISE(ABORT, 'rejected is insert-only'); END;
CREATE TRIGGER rejected_no_delete BEFORE DELETE ON rejected
BEGIN SELECT RAISE(ABORT, 'rejected is insert-only'); END;
CREATE TRIGGER event_no_update BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'event is insert-only'); END;
CREATE TRIGGER event_no_delete BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'event is insert-only'); END;
