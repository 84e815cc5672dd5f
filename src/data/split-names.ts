export type Split = "train" | "val" | "test";

export const splitNames: readonly Split[] = ["train", "val", "test"];
