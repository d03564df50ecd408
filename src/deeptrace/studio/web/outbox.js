// What a person said and the server has not confirmed yet. It is in the browser's own database before it is sent, so that
// neither a closed tab nor a lost connection nor a server that is killed loses it.

const NAME = "deeptrace-studio", STORE = "outbox";
let opened = null;

function database() {
  opened = opened || new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "number", autoIncrement: true }).createIndex("channel", "channel");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

async function inStore(mode, work) {
  const transaction = (await database()).transaction(STORE, mode, { durability: "strict" });
  const request = work(transaction.objectStore(STORE));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request ? request.result : undefined);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** Keep a record until it is confirmed; its number. */
export const keep = (channel, record) => inStore("readwrite", (store) => store.add({ channel, ...record }));
export const pending = (channel) => inStore("readonly", (store) => store.index("channel").getAll(channel));
export const confirm = (numbers) => inStore("readwrite", (store) => {
  let last = null;
  for (const number of numbers) last = store.delete(number);
  return last;
});
export const rewrite = (records) => inStore("readwrite", (store) => {
  let last = null;
  for (const record of records) last = store.put(record);
  return last;
});
