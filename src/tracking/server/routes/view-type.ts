import Type, { type TInteger, type TLiteral, type TOptional, type TUnion } from "typebox";
import type { ViewType } from "../store/experiments.ts";

const views: readonly ViewType[] = ["ACTIVE_ONLY", "DELETED_ONLY", "ALL"];

/** Clients send the name or the number of the enum. */
export const View: TOptional<TUnion<[TLiteral<"ACTIVE_ONLY">, TLiteral<"DELETED_ONLY">, TLiteral<"ALL">, TInteger]>> = Type.Optional(
  Type.Union([Type.Literal("ACTIVE_ONLY"), Type.Literal("DELETED_ONLY"), Type.Literal("ALL"), Type.Integer({ minimum: 1, maximum: 3 })]),
);

export function readView(value: ViewType | number | undefined): ViewType | undefined {
  return typeof value === "number" ? views[value - 1] : value;
}
