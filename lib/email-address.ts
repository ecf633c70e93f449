/** Most characters that an address may have (RFC 5321, 4.5.3.1.3, without the angle brackets). */
export const EMAIL_ADDRESS_MAX_LENGTH = 254;

/**
 * An address that users may have. A deliberate subset of RFC 5321/6531: no quoted local parts, no address literals, at
 * least one dot.
 */
export const EMAIL_ADDRESS =
  /^[^\s@"(),:;<>[\\\]\p{Cc}\p{Cf}\p{Cs}]{1,64}@(?:[\p{L}\p{N}](?:[\p{L}\p{M}\p{N}-]{0,61}[\p{L}\p{M}\p{N}])?\.)+[\p{L}\p{N}](?:[\p{L}\p{M}\p{N}-]{0,61}[\p{L}\p{M}\p{N}])$/u;
