"use strict";
/**
 * What a task says to Pit, from Node.js: `const pit = require("pit-sdk")`.
 *
 * No dependencies. Requests go over the Unix socket that PIT_SOCKET names, one connection each; where
 * hundreds come at once, most wait for their turn. sdk/PROTOCOL.md says what is spoken there. Files
 * lie in the folder that PIT_DATA_DIR names.
 */

const net = require("node:net");
const path = require("node:path");

/** Base of all errors of this module. */
class PitError extends Error {
  constructor(message) {
    super(message);
    this.name = this.constructor.name;
  }
}

/** The script was started by hand, and asks for what only Pit has. */
class OutsideTask extends PitError {}

/** Pit could not do what was asked; `answer` is its answer, `method` what was called. */
class RequestFailed extends PitError {
  constructor(method, answer) {
    const told = answer.startsWith(method) || answer.startsWith("unknown method");
    super(told ? answer : `${method}: ${answer}`);
    this.method = method;
    this.answer = answer;
  }
}

/** Nobody answers on the socket: the run has ended. */
class Unreachable extends PitError {}

/**
 * Ask Pit for something; the answer is a text. Params that are null or undefined are left out,
 * but for those named in `keep`.
 */
async function call(method, params = {}, keep = []) {
  const place = process.env.PIT_SOCKET;
  if (!place) {
    throw new OutsideTask(
      `${method} asks Pit, and this script was started without it (PIT_SOCKET is not set). ` +
        "Run it as a task: pit run DAG/TASK"
    );
  }
  const given = Object.entries(params).filter(([name, value]) => value != null || keep.includes(name));
  const request = JSON.stringify({ method, params: Object.fromEntries(given) });
  const quick = QUICK.has(method);
  const answer = await (quick ? quickTurns : longTurns)(() =>
    admitted(method, place, request + "\n", quick ? PATIENCE : 0)
  );
  if (answer.error) throw new RequestFailed(method, answer.error);
  return answer.result;
}

const QUICK = new Set(["get_secret", "get_secret_field", "set_value", "get_value", "saved", "progress", "log"]);
const PATIENCE = 60_000; // milliseconds, as all below
const FIRST_PAUSE = 20;
const LONGEST_PAUSE = 250;
const BUSY = "too many connections";

/**
 * The answer to a request, once there is room for it among those of the task's other processes:
 * nothing of it was read where there was none.
 */
async function admitted(method, place, request, patience) {
  for (let pause = FIRST_PAUSE; ; pause = Math.min(1.5 * pause, LONGEST_PAUSE)) {
    try {
      const answer = JSON.parse(await exchanged(place, request, patience));
      if (!(answer.error || "").startsWith(BUSY)) return answer;
    } catch (error) {
      // EAGAIN: so many wait to be let in that the system puts nobody else into the queue.
      if (error.code !== "EAGAIN")
        throw new Unreachable(`${method}: Pit does not answer (${error.message}); has the run ended?`);
    }
    await new Promise((go) => setTimeout(go, pause));
  }
}

/** Does so much work at once; the rest waits in the order in which it came. */
function turns(most) {
  const waiting = [];
  let free = most;
  return async (work) => {
    if (free > 0) free -= 1;
    else await new Promise((go) => waiting.push(go));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free += 1;
    }
  };
}

/** Two queues, so that a secret or a line of the log does not wait for large transfers. */
const quickTurns = turns(8);
const longTurns = turns(24);

/**
 * One line there, one line back. `patience` 0 is for as long as it takes: Pit's own limits and the
 * task's time-out end what takes too long, and the end of Pit is noticed at once.
 */
function exchanged(place, request, patience) {
  return new Promise((resolve, reject) => {
    const pieces = [];
    const connection = net.connect(place, () => connection.write(request));
    connection.on("data", (piece) => {
      pieces.push(piece);
      if (piece[piece.length - 1] === 10) {
        connection.destroy();
        resolve(Buffer.concat(pieces).toString("utf8"));
      }
    });
    connection.setTimeout(patience, () => connection.destroy(new Error("no answer in time")));
    connection.on("error", reject);
    connection.on("close", () => reject(new Error("it hung up")));
  });
}

const decoded = async (method, params) => JSON.parse(await call(method, params));
const byHand = () => !process.env.PIT_SOCKET;

/** A secret's value; the fields of a structured one as a JSON object. */
const getSecret = (key) => call("get_secret", { key });

/** One field of a structured secret. */
const getSecretField = (secret, field) => call("get_secret_field", { secret, field });

/** Keep a small fact (JSON of up to 64 kB) for the tasks downstream and for `pit status`. */
async function setValue(name, value) {
  if (byHand()) console.error(`[value] ${name} = ${JSON.stringify(value)}`);
  else await call("set_value", { name, value: value === undefined ? null : value }, ["value"]);
}

/**
 * A fact that `options.task` has set; without it, any one that this task depends on. One that
 * nobody has set is an error, unless there is `options.default`.
 */
async function getValue(name, options = {}) {
  if (!("default" in options)) return decoded("get_value", { name, task: options.task });
  if (byHand()) return options.default;
  const params = { name, task: options.task, default: options.default };
  return JSON.parse(await call("get_value", params, ["default"]));
}

/** Show how far this task is; by hand, do nothing. */
async function progress(done, total, message = "") {
  if (!byHand()) await call("progress", { done, total, message });
}

/** Write a line to the task's log that programs can read too; by hand, to standard error. */
async function log(level, message, fields = {}) {
  if (byHand()) {
    const named = Object.entries(fields).map(([name, value]) => `  ${name}=${value}`);
    console.error(`[${level}] ${message}${named.join("")}`);
  } else await call("log", { level, message, fields });
}

/** The folder for files of this run, which all its tasks share. */
function dataDir() {
  const folder = process.env.PIT_DATA_DIR;
  if (!folder) {
    throw new OutsideTask(
      "no data folder: PIT_DATA_DIR is not set. Run this script as a task: pit run DAG/TASK; " +
        `or by hand with a folder: PIT_DATA_DIR=data node ${path.relative(".", process.argv[1] || "")}`
    );
  }
  return folder;
}

/**
 * Say that a file of the data folder is for other tasks: it is there for them even when this task is
 * skipped. By hand, do nothing.
 */
async function saved(file) {
  if (!byHand()) await call("saved", { file });
}

/** Load a file of the data folder into a table of a database: says how many rows. */
const loadData = (file, table, connection, options = {}) =>
  call("load_data", { file, table, connection, ...options });

/** Write the result of a query to a Parquet file of the data folder; its path. */
async function saveQuery(connection, query, file) {
  await call("save_query", { connection, query, file });
  return path.join(dataDir(), file);
}

/** Send an HTTP request: `status`, `headers`, and `json`, `body`, `base64` or `file`. */
const httpRequest = (url, options = {}) => decoded("http_request", { url, ...options });

/** The objects below a prefix of S3-compatible storage. */
const s3List = (secret, options = {}) => decoded("s3_list", { secret, ...options });

/** Key, size, etag and time of change of an object; with `missing_ok` null if it is absent. */
async function s3Head(secret, key, options = {}) {
  const answer = await call("s3_head", { secret, key, ...options });
  return answer ? JSON.parse(answer) : null;
}

/** Fetch an object (`key`), or all below a `prefix`, into the data folder. */
const s3Get = (secret, options) => decoded("s3_get", { secret, ...options });

/** Send a file of the data folder to an object. */
const s3Put = (secret, file, options = {}) => decoded("s3_put", { secret, file, ...options });

/** Delete an object; it is no error if there is none. */
const s3Delete = async (secret, key, options = {}) =>
  void (await call("s3_delete", { secret, key, ...options }));

/** A URL with which anybody may get or put the object for a while. */
const s3Presign = (secret, key, options = {}) => call("s3_presign", { secret, key, ...options });

/** Send a mail: `message_id`, `accepted`, `refused`. */
const sendMail = (secret, mail) => decoded("send_mail", { secret, ...mail });

/** Tell people by chat or push: `sent`, `failed`. */
const notify = (secret, body, options = {}) => decoded("notify", { secret, body, ...options });

/** The files of a folder on a server, by name. */
const ftpList = (secret, options = {}) => decoded("ftp_list", { secret, ...options });

/** Wait until files on a server have stopped changing. */
const ftpWait = (secret, options = {}) => decoded("ftp_wait", { secret, ...options });

/** Fetch files into the data folder; their paths. */
const ftpGet = (secret, options) => decoded("ftp_get", { secret, ...options });

/** Send a file of the data folder: its `path` there and its `size`. */
const ftpPut = (secret, file, remote, options = {}) =>
  decoded("ftp_put", { secret, file, path: remote, ...options });

/** Delete a file on a server. */
const ftpDelete = async (secret, remote) =>
  void (await call("ftp_delete", { secret, path: remote }));

/** Rename a file on a server. */
const ftpMove = async (secret, src, dst) => void (await call("ftp_move", { secret, src, dst }));

module.exports = {
  OutsideTask,
  PitError,
  RequestFailed,
  Unreachable,
  call,
  dataDir,
  ftpDelete,
  ftpGet,
  ftpList,
  ftpMove,
  ftpPut,
  ftpWait,
  getSecret,
  getSecretField,
  getValue,
  httpRequest,
  loadData,
  log,
  notify,
  progress,
  s3Delete,
  s3Get,
  s3Head,
  s3List,
  s3Presign,
  s3Put,
  saveQuery,
  saved,
  sendMail,
  setValue,
};
