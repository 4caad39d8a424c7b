/** Take a picture with the camera: on a phone with its own program, else in a dialog. */

import { byId } from "./dom.js";

/**
 * Show the button if there is a way to a camera.
 * @param {(file: File) => void} taken called with each picture
 * @param {(reason: string) => void} failed
 */
export function offerCamera(taken, failed) {
  const button = byId("camera");
  // Browsers give pages a camera only over HTTPS or from this machine; a phone's file input needs neither.
  if (matchMedia("(pointer: coarse)").matches) {
    button.addEventListener("click", () => byId("snap").click());
  } else if (navigator.mediaDevices?.getUserMedia) {
    button.addEventListener("click", () => open().catch((error) => failed(String(error.message || error))));
  } else return;
  button.hidden = false;
  byId("shoot").addEventListener("click", async () => {
    const file = await picture();
    byId("camera-dialog").close();
    taken(file);
  });
  byId("close-camera").addEventListener("click", () => byId("camera-dialog").close());
  byId("camera-dialog").addEventListener("close", stop);
}

async function open() {
  const video = byId("video");
  const constraints = { audio: false, video: { facingMode: "environment", width: { ideal: 1920 } } };
  video.srcObject = await navigator.mediaDevices.getUserMedia(constraints);
  byId("shoot").disabled = true;
  byId("camera-dialog").showModal();
  await video.play();
  byId("shoot").disabled = false;
}

function stop() {
  const video = byId("video");
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}

async function picture() {
  const video = byId("video");
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
  return new File([blob], "camera.jpg", { type: blob.type });
}
