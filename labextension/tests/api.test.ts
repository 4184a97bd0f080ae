import { ServerConnection } from '@jupyterlab/services';
import { describe, expect, test } from 'vitest';

import { Api } from '../src/api';
import { ApiError } from '../src/errors';

const BASE = 'http://hub.example/user/ada/';

interface Asked {
  url: URL;
  method: string;
  headers: Headers;
  body: string;
}

/** An Api whose server is `answer`; tells what was asked. */
function connect(answer: (request: Request) => Response | Promise<Response>): {
  api: Api;
  asked: Asked[];
} {
  const asked: Asked[] = [];
  const settings = ServerConnection.makeSettings({
    baseUrl: BASE,
    token: 'secret',
    fetch: async input => {
      const request = input as Request;
      asked.push({
        url: new URL(request.url),
        method: request.method,
        headers: request.headers,
        body: await request.clone().text()
      });
      return answer(request);
    }
  });
  return { api: new Api(settings, 'zh_CN'), asked };
}

const json = (value: unknown, status = 200): Response =>
  new Response(JSON.stringify(value), { status });

const failure = async (work: Promise<unknown>): Promise<ApiError> => {
  const error: unknown = await work.then(
    () => null,
    (reason: unknown) => reason
  );
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
};

/** A body that is sent bit by bit, and tells when its reader has gone. */
class Body {
  private _controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  cancelled = false;
  stream = new ReadableStream<Uint8Array>({
    start: controller => {
      this._controller = controller;
    },
    cancel: () => {
      this.cancelled = true;
    }
  });

  send(text: string): void {
    this._controller?.enqueue(new TextEncoder().encode(text));
  }

  close(): void {
    this._controller?.close();
  }

  break(): void {
    this._controller?.error(new TypeError('network error'));
  }
}

describe('Api', () => {
  test('asks the extension below the base URL, signed in, in the language of the page', async () => {
    const { api, asked } = connect(() => json({ runs: [] }));
    await api.ddpRuns();
    expect(asked[0]?.url.pathname).toBe('/user/ada/gpucamp/ddp/runs');
    expect(asked[0]?.headers.get('Authorization')).toBe('token secret');
    expect(asked[0]?.headers.get('Accept-Language')).toBe('zh-CN');
  });

  test('sends a launch as the server wants it', async () => {
    const { api, asked } = connect(() => json({ id: '1' }, 201));
    const request = { script: 'a.py', processes: 2, arguments: ['x y'], id: 'plan' };
    await api.ddpLaunch(request);
    expect(asked[0]?.method).toBe('POST');
    expect(JSON.parse(asked[0]?.body ?? '')).toEqual(request);
  });

  test('an id cannot lead elsewhere', async () => {
    const { api, asked } = connect(() => json({}));
    await api.ddpRun('../../api/shutdown?x#y');
    expect(asked[0]?.url.pathname).toBe(
      '/user/ada/gpucamp/ddp/runs/..%2F..%2Fapi%2Fshutdown%3Fx%23y'
    );
  });

  test('a refusal is told in the words of the server', async () => {
    const { api } = connect(() => json({ status: 400, message: 'Use 1 to 4 processes.' }, 400));
    expect(await failure(api.ddpDefaults())).toMatchObject({
      kind: 'refused',
      status: 400,
      message: 'Use 1 to 4 processes.'
    });
  });

  test("a proxy's page is an error without words", async () => {
    const { api } = connect(() => new Response('<html>Bad Gateway</html>', { status: 502 }));
    expect(await failure(api.status())).toMatchObject({ kind: 'unavailable', message: '' });
  });

  test('an answer that is no JSON is a fault', async () => {
    const { api } = connect(() => new Response('<html>Sign in</html>'));
    expect(await failure(api.status())).toMatchObject({ kind: 'fault' });
  });

  test('no answer is a network error', async () => {
    const { api } = connect(() => Promise.reject(new TypeError('Failed to fetch')));
    expect(await failure(api.status())).toMatchObject({ kind: 'network', status: 0 });
  });

  test('a request that the caller ends is an AbortError, before and during the answer', async () => {
    const ended = new AbortController();
    // As a browser's fetch does it.
    const { api } = connect(({ signal }) => {
      signal.throwIfAborted();
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason as Error))
      );
    });
    const status = api.status(ended.signal);
    ended.abort();
    await expect(status).rejects.toMatchObject({ name: 'AbortError' });
    await expect(api.status(ended.signal)).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('a stream gives each event when it comes', async () => {
    const body = new Body();
    const { api, asked } = connect(() => new Response(body.stream));
    const events = api.examine('python3', new AbortController().signal);
    body.send('{"event":"started","kernel":"python3","checks":3}\n\n{"event":"pro');
    expect((await events.next()).value).toMatchObject({ event: 'started' });
    body.send('be","name":"x","seconds":1,"decided":1}\n');
    expect((await events.next()).value).toMatchObject({ event: 'probe', decided: 1 });
    body.close();
    expect((await events.next()).done).toBe(true);
    expect(JSON.parse(asked[0]?.body ?? '')).toEqual({ kernel: 'python3' });
  });

  test('a stream that is left is closed, so that the server stops', async () => {
    const body = new Body();
    const { api } = connect(() => new Response(body.stream));
    const events = api.ddpLog('1', 7, new AbortController().signal);
    body.send('{"offset":9,"rank":0,"text":"x"}\n');
    await events.next();
    await events.return(undefined);
    expect(body.cancelled).toBe(true);
  });

  test('a stream that breaks is a network error, one of nonsense a fault', async () => {
    const broken = new Body();
    const first = connect(() => new Response(broken.stream)).api;
    const events = first.ddpLog('1', 0, new AbortController().signal);
    broken.send('{"offset":1,"rank":0,"text":"x"}\n');
    await events.next();
    broken.break();
    expect(await failure(events.next())).toMatchObject({ kind: 'network' });

    const second = connect(() => new Response('<html>\n')).api;
    const nonsense = second.ddpLog('1', 0, new AbortController().signal);
    expect(await failure(nonsense.next())).toMatchObject({ kind: 'fault' });
  });

  test('goes on from the offset that it is given', async () => {
    const { api, asked } = connect(() => new Response(''));
    const events = api.ddpLog('1', 4096, new AbortController().signal);
    expect((await events.next()).done).toBe(true);
    expect(asked[0]?.url.searchParams.get('offset')).toBe('4096');
  });
});
