/** Single pictures, and the process that decodes costly ones. */
export const imageErrors = {
  E_IMAGE_EMPTY: { title: "The image file is empty.", hint: "Send or save the picture again." },
  E_IMAGE_FORMAT: {
    title: "The bytes are not an image format that Serval reads.",
    hint: "Use JPEG, PNG, WebP or GIF.",
  },
  E_IMAGE_CORRUPT: {
    title: "The image is damaged or cut off and cannot be decoded.",
    hint: "Export or download the picture again.",
  },
  E_IMAGE_BYTES: {
    title: "The image file is larger than the limit.",
    hint: "Scale the picture down, or raise SERVAL_MAX_BODY_BYTES.",
  },
  E_IMAGE_PIXELS: {
    title: "The image is larger than the limit, in pixels or in bytes when decoded.",
    hint: "Scale the picture down, or raise SERVAL_MAX_PIXELS.",
  },
  E_IMAGE_FRAMES: {
    title: "The animation has more frames than the limit.",
    hint: "Send its first frame.",
  },
  E_IMAGE_COST: {
    title: "Decoding the image takes more time or memory than the limit.",
    hint: "Save the picture again as an ordinary JPEG or PNG, scale it down, or raise SERVAL_MAX_DECODE_MS.",
  },
  E_DECODER: {
    title: "The process that decodes costly images is not running.",
    hint: "Try again. If it does not restart, check the log, the memory and the limit on processes.",
  },
} as const;
