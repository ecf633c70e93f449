import { runProcess } from "../../bootstrap/run-process.ts";
import { createWelcomeMailService } from "./welcome-mail.service.ts";

// Settings, logs, health, metrics and an ordered stop are those of every node; see .env.example.
await runProcess([createWelcomeMailService]);
