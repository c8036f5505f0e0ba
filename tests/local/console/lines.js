// One card for each line. A card is changed in place, so that polling moves neither the focus nor an open history.

import { $, button, dateAndTime, element, hint, kindOf, KINDS, link, tag, words } from "./dom.js";
import { call, control } from "./requests.js";

const INCLUDED_STEPS = ["requested", "provisioning", "active"];
const PAID_STEPS = ["requested", "awaiting_payment", "provisioning", "active"];
const FAILURE = { outcome: "failed", reasonCode: "unavailable", reason: "no number is left" };
const ENDS = ["failed", "canceled"];

const cards = new Map();

/** Show these lines, newest first; `context` has the API key, the provisioner's mode and `refresh`. */
export function showLines(lines, context) {
  const wanted = new Set(lines.map((line) => line._id));
  for (const [id, card] of cards) {
    if (!wanted.has(id)) {
      card.remove();
      cards.delete(id);
    }
  }
  $("#lines .empty")?.remove();
  $("#count").textContent = lines.length;
  lines.toReversed().forEach((line) => {
    if (!cards.has(line._id)) {
      const card = newCard(line, context);
      cards.set(line._id, card);
      $("#lines").prepend(card);
    }
    update(cards.get(line._id), line, context);
  });
  if (!lines.length) {
    const text = "No lines yet. Request the first one.";
    $("#lines").append(element("p", { className: "empty", textContent: text }));
  }
}

function newCard(line, context) {
  const history = element("details", { className: "history" }, element("summary", { textContent: "History" }));
  history.append(element("ol"));
  const id = `line-${line._id}`;
  const name = element("h3", { id, tabIndex: -1, textContent: `${line.firstName} ${line.lastName}` });
  const kind = hint(KINDS[kindOf(line)]);
  const tags = element("span", { className: "tags" });
  const card = element(
    "article",
    { className: "line" },
    element("div", { className: "head" }, name, kind, tags),
    element("ol", { className: "steps" }),
    element("div", { className: "actions" }),
    history,
    element("code", { className: "hint", textContent: line._id }),
  );
  card.setAttribute("aria-labelledby", id);
  history.ontoggle = () => history.open && showHistory(card, line._id, context);
  return card;
}

function update(card, line, context) {
  const shown = JSON.stringify([line, context.provisioning]);
  if (card.shown === shown) return;
  const actions = $(".actions", card);
  const hadFocus = actions.contains(document.activeElement);
  if (card.shown && card.status !== line.provisioningStatus) {
    const status = words(line.provisioningStatus);
    $("#announcement").textContent = `${line.firstName} ${line.lastName}: ${status}`;
  }
  card.shown = shown;
  card.status = line.provisioningStatus;
  const paid = line.paymentStatus === "paid" ? [tag("paid"), " "] : [];
  $(".tags", card).replaceChildren(...paid, tag(line.provisioningStatus));
  $(".steps", card).replaceChildren(...steps(line));
  actions.replaceChildren(...actionsOf(line, context));
  if (hadFocus) $("h3", card).focus();
  if ($(".history", card).open) showHistory(card, line._id, context);
}

function steps({ provisioningStatus: status, paymentStatus }) {
  const names = paymentStatus === "not_required" ? INCLUDED_STEPS : PAID_STEPS;
  const ended = ENDS.includes(status);
  const passed = ended ? names.slice(0, status === "failed" ? -1 : 1) : names;
  const shown = ended ? [...passed, status] : passed;
  const at = shown.indexOf(status);
  return shown.map((name, index) => {
    const step = element("li", { textContent: words(name), className: index < at ? "done" : ended ? "ended" : "" });
    if (index === at) step.ariaCurrent = "step";
    return step;
  });
}

function actionsOf(line, { apiKey, provisioning, refresh }) {
  const then = (request) => async () => {
    await request();
    await refresh();
  };
  const path = `/api/line-requests/${line._id}`;
  const manage = (action) => then(() => call("POST", path, { apiKey, body: { action } }));
  const provision = (body) => then(() => control(`line-requests/${line._id}/provisioning`, body));
  const poll = button("Poll", then(() => call("GET", path, { apiKey })));
  switch (line.provisioningStatus) {
    case "awaiting_payment":
      return [
        ...(line.paymentLinkUrl ? [link(line.paymentLinkUrl, "Pay ↗", "button pay")] : []),
        button("Payment link", manage("payment_link")),
        button("Cancel", manage("cancel")),
        poll,
      ];
    case "provisioning":
      if (provisioning !== "manual") return [poll];
      return [
        button("Provisioner: succeeded", provision({ outcome: "succeeded" })),
        button("Provisioner: failed", provision(FAILURE)),
        poll,
      ];
    case "active":
    case "failed":
      return [button("Release", then(() => call("DELETE", `/api/lines/${line._id}`, { apiKey })))];
    default:
      return [];
  }
}

async function showHistory(card, id, { apiKey }) {
  const { ok, answer } = await call("GET", `/api/line-requests/${id}/events`, { apiKey, quiet: true });
  const events = ok ? answer.events : [];
  $(".history ol", card).replaceChildren(...events.map(historyEntry));
}

function historyEntry({ at, status, paymentStatus, cause, reasonCode, reason, invoiceUrl }) {
  const why = [cause, reasonCode].filter(Boolean).map(words);
  if (reason) why.push(reason);
  return element(
    "li",
    {},
    element("time", { dateTime: at, textContent: dateAndTime(at) }),
    tag(status),
    " ",
    paymentStatus === "paid" ? tag("paid") : null,
    ` ${why.join(" · ")} `,
    invoiceUrl ? link(invoiceUrl, paymentStatus === "paid" ? "Receipt ↗" : "Invoice ↗") : null,
  );
}
