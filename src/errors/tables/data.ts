/** Import, manifest, split and shards. */
export const dataErrors = {
  E_SOURCE: {
    title: "The data source is not one that Serval reads.",
    hint: "Name a zip, a folder with one subfolder per class, an http(s) URL of a zip, or `sample`.",
  },
  E_SOURCE_EMPTY: {
    title: "The data source has no images in class folders.",
    hint: "Put the pictures of each class into their own folder: rose/1.jpg, tulip/1.jpg.",
  },
  E_ARCHIVE_CORRUPT: {
    title: "The archive is damaged or cut off.",
    hint: "Download or pack it again.",
  },
  E_ARCHIVE_UNSAFE: {
    title: "The archive contains an entry that would be written outside its folder.",
    hint: "Do not trust this archive. Nothing was unpacked.",
  },
  E_ARCHIVE_LIMITS: {
    title: "The zip archive exceeds the limits for unpacking, like a zip bomb.",
    hint: "If you trust the archive, unpack it yourself and import the folder.",
  },
  E_ARCHIVE_METHOD: {
    title: "The zip archive is encrypted, or packed by a method that Serval does not read.",
    hint: "Unpack it, then import the folder.",
  },
  E_DOWNLOAD: {
    title: "A download failed.",
    hint: "Run the same command again: it continues where it stopped.",
  },
  E_DOWNLOAD_MISMATCH: {
    title: "The download differs from the one that was recorded the first time.",
    hint: "If the publisher really changed the file, remove its entry from downloads.lock.json and import again.",
  },
  E_LABEL_MISSING: {
    title: "A file is not in a class folder.",
    hint: "Move it into the folder of its class, or leave it out.",
  },
  E_LABEL_CONFLICT: {
    title: "The same picture is in the folders of two classes.",
    hint: "Remove the wrong one, or set data.dedupe: true to leave both out.",
  },
  E_CLASS_TOO_SMALL: {
    title: "A class has too few pictures for the split.",
    hint: "Add pictures of this class, or remove its folder.",
  },
  E_MANIFEST_MISSING: {
    title: "There is no imported data yet.",
    hint: "Run `serval data import SOURCE` first.",
  },
  E_MANIFEST_CORRUPT: {
    title: "The manifest of the data cannot be read.",
    hint: "Write it again with `serval data import data/raw`.",
  },
  E_DATA_CHANGED: {
    title: "A picture does not match the manifest.",
    hint: "Update the manifest with `serval data import data/raw`.",
  },
  E_CORRECTIONS: {
    title: "A correction of the data cannot be read.",
    hint: "Each line has sha256 or class, action (relabel, exclude or keep), label with relabel, by and at: docs/data-quality.md. Correct the line, or remove it.",
  },
  E_DATA_QUALITY: {
    title: "The data has more suspects than --fail-on allows.",
    hint: "Look at the report, decide with `serval data correct`, then import and prepare again.",
  },
  E_SHARDS_MISSING: {
    title: "There is no prepared data yet.",
    hint: "Run `serval data import SOURCE`, then `serval prepare`, then this command again.",
  },
  E_SHARDS_CORRUPT: {
    title: "The prepared data is damaged.",
    hint: "Run `serval prepare --force`.",
  },
} as const;
