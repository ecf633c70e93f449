// Black-box tests import nothing of the product by themselves.
export { freePort } from "../../lib/free-port.ts";
