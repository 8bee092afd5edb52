// The form with the box to type in: hands the text on, and keeps it when it could not be sent.

export function wireComposer(form, send) {
  const input = form.querySelector("input");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value && send(input.value)) input.value = "";
    input.focus();
  });
}
