/**
 * The browser's own notifications, which are seen over other windows.
 *
 * Guarantees: nothing here throws, whatever the browser lacks or refuses; notices of the same tag are one on the
 * screen, from however many tabs.
 */

/** unsupported: the browser has none, or not for a page without https. */
export type NoticePermission = NotificationPermission | 'unsupported';

export interface IBrowserNotices {
  permission(): NoticePermission;
  /** Asks the person, where that was not decided yet. To be called from a click. */
  ask(): Promise<NoticePermission>;
  show(title: string, body: string, tag: string, clicked: () => void): void;
}

export class BrowserNotices implements IBrowserNotices {
  constructor(private readonly page: Window & typeof globalThis) {}

  permission(): NoticePermission {
    return this._kind?.permission ?? 'unsupported';
  }

  async ask(): Promise<NoticePermission> {
    if (this.permission() === 'default') {
      try {
        await this._kind?.requestPermission();
      } catch {
        // Not from a click, say: then it stays undecided.
      }
    }
    return this.permission();
  }

  show(title: string, body: string, tag: string, clicked: () => void): void {
    if (this.permission() !== 'granted' || !this._kind) {
      return;
    }
    try {
      const notice = new this._kind(title, { body, tag });
      notice.onclick = () => {
        this.page.focus();
        notice.close();
        clicked();
      };
    } catch {
      // A browser that shows them from a service worker only (Android).
    }
  }

  private get _kind(): typeof Notification | undefined {
    return this.page.isSecureContext ? this.page.Notification : undefined;
  }
}
