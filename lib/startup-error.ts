/** What a `StartupError` may carry beside its message. */
export interface StartupErrorOptions {
  /** Exit code of the process: 1 unless a more exact one exists, such as 78 (EX_CONFIG) for bad configuration. */
  readonly exitCode?: number;
  /** The error beneath, for the debug log. The operator is not shown it. */
  readonly cause?: unknown;
}

/**
 * A reason for not starting that the operator can do something about: a port that is taken, a folder that is not
 * writable. The message is for that reader. It names the setting, says what is wrong and what to do, and is printed
 * without a stack trace.
 */
export class StartupError extends Error {
  override readonly name = "StartupError";
  readonly exitCode: number;

  constructor(message: string, options: StartupErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.exitCode = options.exitCode ?? 1;
  }
}
