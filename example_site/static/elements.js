// Makes elements whose content is text: what comes from another user is never markup.

export function element(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

export function timeStamp(date = new Date()) {
  const text = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const stamp = element("time", "", text);
  stamp.dateTime = date.toISOString();
  return stamp;
}
