// The story, through the SDK of @hey-api/openapi-ts.
import { client } from "./hey/client.gen";
import { createLineRequest, getLineRequest, listLineRequests, manageLineRequest } from "./hey/sdk.gen";
import { API, HEADERS, PHONE, check, pay, poll } from "./story";

client.setConfig({ baseUrl: API, headers: HEADERS });

const created = await createLineRequest({ body: PHONE });
check(created.data?.status === "awaiting_payment", created.error);
const { _id: id } = created.data.line;
const conflict = await createLineRequest({ body: PHONE });
check(conflict.response.status === 409 && conflict.error !== undefined, conflict.data);
check("existingLine" in conflict.error && conflict.error.existingLine._id === id, conflict.error);
const canceled = await manageLineRequest({ path: { id }, body: { action: "cancel" } });
check(canceled.data?.status === "canceled", canceled.error);
const page = await listLineRequests({ query: { limit: 1 } });
check(page.data?.lines[0]?._id === id, page.error);
const second = await createLineRequest({ body: PHONE });
check(second.data?.status === "awaiting_payment", second.error);
await pay(second.data.paymentUrl);
const path = { id: second.data.line._id };
const paid = await poll(
  () => getLineRequest({ path }),
  ({ data }) => data?.paymentStatus !== "awaiting_payment",
);
check(paid.data?.paymentStatus === "paid", paid.error);
