/* A PAM module that does as the first letter in /tmp/hostile says. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PAM_SESSION_ERR = 14, PAM_IGNORE = 25 };

int pam_sm_open_session(void *pam, int flags, int argc, const char **argv)
{
	FILE *file = fopen("/tmp/hostile", "r");

	(void)pam, (void)flags, (void)argc, (void)argv;
	switch (file ? fgetc(file) : EOF) {
	case 'a':
		abort();
	case 'e':
		exit(3);
	case 'E':
		_exit(0);
	case 'h':
		for (;;)
			pause();
	case 's':
		return system("/bin/sh /tmp/script") ? PAM_SESSION_ERR : PAM_IGNORE;
	default:
		return PAM_SESSION_ERR;
	}
}

int pam_sm_close_session(void *pam, int flags, int argc, const char **argv)
{
	(void)pam, (void)flags, (void)argc, (void)argv;
	return PAM_IGNORE;
}
