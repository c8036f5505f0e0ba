// The story, through openapi-fetch with the types of openapi-typescript.
import createClient from "openapi-fetch";
import type { paths } from "./schema";
import { API, HEADERS, PHONE, check, pay, poll } from "./story";

const client = createClient<paths>({ baseUrl: API, headers: HEADERS });

const created = await client.POST("/api/line-requests", { body: PHONE });
check(created.data?.status === "awaiting_payment", created.error);
const { _id: id } = created.data.line;
const conflict = await client.POST("/api/line-requests", { body: PHONE });
check(conflict.response.status === 409 && conflict.error !== undefined, conflict.data);
check("existingLine" in conflict.error && conflict.error.existingLine._id === id, conflict.error);
const params = { path: { id } };
const canceled = await client.POST("/api/line-requests/{id}", { params, body: { action: "cancel" } });
check(canceled.data?.status === "canceled", canceled.error);
const page = await client.GET("/api/line-requests", { params: { query: { limit: 1 } } });
check(page.data?.lines[0]?._id === id, page.error);
const second = await client.POST("/api/line-requests", { body: PHONE });
check(second.data?.status === "awaiting_payment", second.error);
await pay(second.data.paymentUrl);
const path = { id: second.data.line._id };
const paid = await poll(
  () => client.GET("/api/line-requests/{id}", { params: { path } }),
  ({ data }) => data?.paymentStatus !== "awaiting_payment",
);
check(paid.data?.paymentStatus === "paid", paid.error);
