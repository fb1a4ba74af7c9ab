/** What a task says to Pit; docs/sdk.md explains each function, sdk/PROTOCOL.md each method. */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Base of all errors of this module. */
export class PitError extends Error {}
/** The script was started by hand, and asks for what only Pit has. */
export class OutsideTask extends PitError {}
/** Nobody answers on the socket: the run has ended. */
export class Unreachable extends PitError {}
/** Pit could not do what was asked. */
export class RequestFailed extends PitError {
  readonly method: string;
  readonly answer: string;
}

/** Ask Pit for something; the answer is a text. Params that are null are left out. */
export function call(
  method: string,
  params?: Record<string, unknown>,
  keep?: string[]
): Promise<string>;

export function getSecret(key: string): Promise<string>;
export function getSecretField(secret: string, field: string): Promise<string>;

export function setValue(name: string, value: Json): Promise<void>;
export function getValue(name: string, options?: { task?: string; default?: Json }): Promise<Json>;
export function progress(done: number, total?: number, message?: string): Promise<void>;
export function log(
  level: "debug" | "info" | "warning" | "error",
  message: string,
  fields?: Record<string, Json>
): Promise<void>;

/** The folder for files of this run, which all its tasks share. */
export function dataDir(): string;
/** Say that a file of the data folder is for other tasks. */
export function saved(file: string): Promise<void>;
export function loadData(
  file: string,
  table: string,
  connection: string,
  options?: { schema?: string; mode?: string; key?: string[] }
): Promise<string>;
/** The path of the Parquet file with the query's result. */
export function saveQuery(connection: string, query: string, file: string): Promise<string>;

export interface HttpOptions {
  method?: string;
  headers?: Record<string, string>;
  query?: Record<string, Json>;
  json?: Json;
  body?: string;
  file?: string;
  form?: Record<string, string>;
  files?: Record<string, string>;
  save_to?: string;
  secret?: string;
  auth?: string;
  timeout?: number | string;
  max_time?: number | string;
  retries?: number;
  retry_delay?: number | string;
  retry_max_delay?: number | string;
  retry_unsafe?: boolean;
  follow_redirects?: boolean;
  expect?: number | number[] | string;
  ca?: string;
  verify?: boolean;
}
export interface HttpAnswer {
  status: number;
  url: string;
  headers: Record<string, string>;
  json?: Json;
  body?: string;
  base64?: string;
  file?: string;
  size?: number;
  sha256?: string;
  redirects: number;
  attempts: number;
  seconds: number;
}
export function httpRequest(url: string, options?: HttpOptions): Promise<HttpAnswer>;

export interface S3Options {
  bucket?: string;
  timeout?: number | string;
  max_time?: number | string;
  retries?: number;
}
export interface S3Object {
  key: string;
  size: number;
  etag: string | null;
  [more: string]: Json;
}
export function s3List(
  secret: string,
  options?: S3Options & { prefix?: string; pattern?: string; limit?: number }
): Promise<S3Object[]>;
export function s3Head(
  secret: string,
  key: string,
  options?: S3Options & { missing_ok?: boolean }
): Promise<S3Object | null>;
export type S3File = S3Object & { file: string; sha256: string };
export function s3Get(
  secret: string,
  options: S3Options & { key: string; file?: string }
): Promise<S3File>;
export function s3Get(
  secret: string,
  options: S3Options & { prefix: string; pattern?: string; folder?: string }
): Promise<S3File[]>;
export function s3Put(
  secret: string,
  file: string,
  options?: S3Options & { key?: string; content_type?: string; metadata?: Record<string, string> }
): Promise<{ bucket: string; key: string; size: number; etag: string | null }>;
export function s3Delete(secret: string, key: string, options?: S3Options): Promise<void>;
export function s3Presign(
  secret: string,
  key: string,
  options?: S3Options & { expires?: number | string; method?: "GET" | "PUT" | "HEAD" | "DELETE" }
): Promise<string>;

export interface Mail {
  to: string | string[];
  subject: string;
  text?: string;
  html?: string;
  cc?: string | string[];
  bcc?: string | string[];
  reply_to?: string | string[];
  attachments?: string | string[];
  from?: string;
  retries?: number;
}
export function sendMail(
  secret: string,
  mail: Mail
): Promise<{ message_id: string; accepted: string[]; refused: Record<string, string> }>;
export function notify(
  secret: string,
  body: string,
  options?: {
    title?: string;
    format?: "text" | "markdown" | "html";
    severity?: "info" | "success" | "warning" | "failure";
    attachments?: string | string[];
  }
): Promise<{ sent: string[]; failed: Record<string, string> }>;

export interface RemoteFile {
  name: string;
  path: string;
  size: number;
  modified: string | null;
}
export interface ListOptions {
  directory?: string;
  pattern?: string;
  retries?: number;
}
export function ftpList(secret: string, options?: ListOptions & { details?: false }): Promise<string[]>;
export function ftpList(secret: string, options: ListOptions & { details: true }): Promise<RemoteFile[]>;
export function ftpWait(
  secret: string,
  options?: {
    directory?: string;
    pattern?: string;
    stable?: number | string;
    timeout?: number | string;
    at_least?: number;
  }
): Promise<string[]>;
export function ftpGet(
  secret: string,
  options: { path?: string; directory?: string; pattern?: string; to?: string; retries?: number }
): Promise<string[]>;
export function ftpPut(
  secret: string,
  file: string,
  remote: string,
  options?: { parents?: boolean; direct?: boolean; retries?: number }
): Promise<{ path: string; size: number }>;
export function ftpMove(secret: string, src: string, dst: string): Promise<void>;
export function ftpDelete(secret: string, remote: string): Promise<void>;
