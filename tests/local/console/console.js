// Wires the page to the local stack: the form, the conditions, and a look at everything every 1.5 s.

import { $, $$, dateAndTime, element, hint, kindOf, link, whileBusy, words } from "./dom.js";
import { showLines } from "./lines.js";
import { showPanels, showPrice } from "./panels.js";
import { call, control, statusTag } from "./requests.js";

const GRANTS = {
  starter: "Includes 1 purchased phone and 1 email line. Further ones are paid add-ons. No own numbers.",
  scale: "Includes 5 purchased, 2 own-number and 5 email lines. Add-ons up to 10 of each.",
  capped: "Includes 1 purchased phone line. Nothing is for sale.",
};
const AT_ONCE = 10;
const POLLED_LINES = 3;
const TICKS_BETWEEN_PANELS = 5;

const form = $("#request");
let state = { workspaces: [] };
let workspace = null;
let lines = [];
let ticksUntilPanels = 0;
let aheadMilliseconds = 0;

// --- looking ---

async function refresh({ panels = true } = {}) {
  const { workspaceId, apiKey } = workspace;
  if ($("#poll").checked) {
    // Reading one line asks Stripe about its payment; reading the list does not.
    const open = lines.filter((line) => line.provisioningStatus === "awaiting_payment").slice(0, POLLED_LINES);
    await Promise.all(open.map((line) => call("GET", `/api/line-requests/${line._id}`, { apiKey, quiet: true })));
  }
  const { ok, answer } = await call("GET", "/api/line-requests?limit=50", { apiKey, quiet: true });
  if (!ok || workspace.workspaceId !== workspaceId) return;
  const changed = JSON.stringify(lines) !== JSON.stringify(answer.lines);
  lines = answer.lines;
  showLines(lines, { apiKey, provisioning: state.provisioning, refresh });
  if (panels || changed || --ticksUntilPanels <= 0) {
    ticksUntilPanels = TICKS_BETWEEN_PANELS;
    await showPanels(workspace);
    showPrice(fields());
  }
}

async function load(select) {
  const { ok, answer } = await call("GET", "/_local/state", { quiet: true });
  if (!ok) return;
  state = answer;
  const wanted = select ?? workspace?.workspaceId ?? localStorage.getItem("workspace");
  workspace = state.workspaces.find((each) => each.workspaceId === wanted) ?? state.workspaces[0];
  localStorage.setItem("workspace", workspace.workspaceId);
  const options = state.workspaces.map(({ workspaceId }) => element("option", { textContent: workspaceId }));
  $("#workspace").replaceChildren(...options);
  $("#workspace").value = workspace.workspaceId;
  $("#grants").textContent = GRANTS[workspace.plan];
  $("#plan").value = workspace.plan;
  for (const mode of ["webhooks", "provisioning"]) $(`[name=${mode}][value=${state[mode]}]`).checked = true;
  aheadMilliseconds = new Date(state.now) - Date.now();
  showTime();
}

function showTime() {
  $("#now").textContent = dateAndTime(Date.now() + aheadMilliseconds);
}

async function enter(workspaceId) {
  await load(workspaceId);
  lines = [];
  await refresh();
}

// --- requesting ---

function fields() {
  const { channelType, lineType, firstName, lastName, email, phone, key } = Object.fromEntries(new FormData(form));
  return { channelType, lineType, firstName, lastName, email, phone, key: key.trim() };
}

function body({ channelType, lineType, firstName, lastName, email, phone }) {
  if (channelType === "email") return { firstName, lastName, channelType, email };
  if (lineType === "byon") return { firstName, lastName, channelType, lineType, email, phone };
  return { firstName, lastName, channelType, lineType };
}

function request(asked = fields()) {
  const headers = asked.key ? { "Idempotency-Key": asked.key } : {};
  return call("POST", "/api/line-requests", { apiKey: workspace.apiKey, body: body(asked), headers });
}

/** "Line 1" becomes "Line 2", and so on. */
const following = (name, by = 1) => name.replace(/\d+$/, (number) => Number(number) + by);

function outcome({ status, headers, answer }) {
  const replayed = headers.has("idempotency-replayed") ? " (replayed)" : "";
  return `${words(answer.status ?? answer.error ?? "no answer")}${replayed}`;
}

function showAnswer(result) {
  const { status, answer } = result;
  const taken = status === 201 ? (answer.paymentRequired ? "payable" : "included") : status < 500 ? "refused" : null;
  for (const row of $$(".decision li")) row.classList.toggle("taken", row.classList.contains(taken));
  show(
    element("div", {}, statusTag(status), ` ${outcome(result)}`),
    answer.message ? element("div", {}, hint(answer.message)) : null,
    answer.paymentUrl ? link(answer.paymentUrl, "Pay ↗") : null,
  );
  if (status === 201 && !fields().key) form.elements.lastName.value = following(fields().lastName);
}

function show(...children) {
  $("#answer").hidden = false;
  $("#answer").replaceChildren(...children.filter(Boolean));
}

form.onchange = () => {
  const kind = kindOf(fields());
  for (const part of $$("[data-for]", form)) part.hidden = !part.dataset.for.split(" ").includes(kind);
  showPrice(fields());
};

form.onsubmit = async (event) => {
  event.preventDefault();
  await whileBusy([$("#send")], async () => {
    showAnswer(await request());
    await refresh();
  });
};

$("#ten").onclick = ({ target }) => whileBusy([target], tenAtOnce);

async function tenAtOnce() {
  const asked = fields();
  const each = Array.from({ length: AT_ONCE }, (_, index) =>
    asked.key ? asked : { ...asked, lastName: following(asked.lastName, index) },
  );
  const results = await Promise.all(each.map(request));
  const counts = Map.groupBy(results, (result) => `${result.status} ${outcome(result)}`);
  const row = (text) => element("div", { textContent: `${counts.get(text).length} × ${text}` });
  show(...[...counts.keys()].sort().map(row));
  if (!asked.key) form.elements.lastName.value = following(asked.lastName, AT_ONCE);
  await refresh();
}

// --- conditions ---

$("#crash").onsubmit = (event) => {
  event.preventDefault();
  whileBusy([event.submitter], crash);
};

async function crash() {
  const { path, kind } = Object.fromEntries(new FormData($("#crash")));
  await control("stripe/faults", { kind, path, count: 1000 });
  $("#recover").disabled = false;
  $("#fault").textContent = "Stripe is failing. Requesting a line…";
  const result = await request();
  showAnswer(result);
  $("#fault").textContent =
    result.status >= 500
      ? "The request is half made. Let Stripe recover; then a poll, a retry with its key or the reconciler finishes it."
      : result.answer.paymentRequired
        ? "The request is complete: the product found at Stripe what the failed call had done."
        : "Stripe was not called: only a paid add-on calls it.";
  await refresh();
}

$("#recover").onclick = async () => {
  await control("stripe/faults", { kind: "error_before", count: 0 });
  $("#recover").disabled = true;
  $("#fault").textContent = "Stripe answers again.";
  await refresh();
};

$("#reconcile").onclick = ({ target }) => whileBusy([target], reconcile);

async function reconcile() {
  const { answer } = await control("reconcile");
  const text = (value) => (typeof value === "object" ? JSON.stringify(value) : value);
  const summary = Object.entries(answer).map(([name, value]) => `${name}: ${text(value)}`);
  $("#summary").hidden = false;
  $("#summary").textContent = summary.join("\n") || "Nothing to do.";
  await refresh();
}

for (const later of $$("[data-seconds]")) {
  later.onclick = () => whileBusy($$("[data-seconds]"), () => advance(Number(later.dataset.seconds)));
}

async function advance(advanceSeconds) {
  $("#advanced").textContent = "Time passes…";
  const { ok, answer } = await control("clock", { advanceSeconds });
  $("#advanced").textContent = ok ? "Time has passed." : answer.error;
  await load();
  await refresh();
}

for (const mode of $$("[data-mode]")) {
  mode.onchange = async ({ target }) => {
    await control(mode.dataset.mode, { mode: target.value });
    await load();
    await refresh();
  };
}

async function subscribe(change) {
  await control(`workspaces/${workspace.workspaceId}/subscription`, change);
  await load();
  await refresh();
}
$("#plan").onchange = ({ target }) => subscribe({ plan: target.value });
$("#status").onchange = ({ target }) => subscribe({ status: target.value });

$("#workspace").onchange = ({ target }) => enter(target.value);
$("#new-workspace").onchange = async ({ target }) => {
  const plan = target.value;
  target.value = "";
  const { ok, answer } = await control("workspaces", { plan });
  if (ok) await enter(answer.workspaceId);
};

form.onchange();
await enter();
let ticking = false;
new Worker("/_local/console/ticker.js").onmessage = async () => {
  showTime();
  if (ticking) return;
  ticking = true;
  await refresh({ panels: false }).catch(() => {}); // the stack may be stopping
  ticking = false;
};
