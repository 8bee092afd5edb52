/* The program's only way out of trouble: a line to standard error, and status 1. */
#ifndef FAILURE_H
#define FAILURE_H

__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);

/* The same, followed by what errno says. */
__attribute__((noreturn, format(printf, 1, 2))) void fail_errno(const char *format, ...);

#endif
