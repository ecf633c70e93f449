/** The JetStream stream that every domain event is published to, under `events.<type>.<subject id>`. */
export const EVENT_STREAM = "EVENTS";
