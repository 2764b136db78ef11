/*
 * A directory server that is far away, for the name service switch (nss(5)): it knows nobody, and
 * says so after as many milliseconds as /etc/slow-directory has.
 *
 * It is called hesiod, a service that glibc ships and nobody has.
 */
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

static enum nss_status wait_in_vain(void)
{
	FILE *file = fopen("/etc/slow-directory", "r");
	unsigned ms = 0;

	if (file) {
		if (fscanf(file, "%u", &ms) != 1)
			ms = 0;
		fclose(file);
	}
	usleep(ms * 1000);
	return NSS_STATUS_NOTFOUND;
}

enum nss_status _nss_hesiod_getgrnam_r(const char *name, struct group *group, char *buffer,
				       size_t size, int *error)
{
	(void)name, (void)group, (void)buffer, (void)size, (void)error;
	return wait_in_vain();
}

enum nss_status _nss_hesiod_getgrgid_r(gid_t gid, struct group *group, char *buffer, size_t size,
				       int *error)
{
	(void)gid, (void)group, (void)buffer, (void)size, (void)error;
	return wait_in_vain();
}

enum nss_status _nss_hesiod_initgroups_dyn(const char *user, gid_t own, long *start, long *size,
					   gid_t **groups, long most, int *error)
{
	(void)user, (void)own, (void)start, (void)size, (void)groups, (void)most, (void)error;
	return wait_in_vain();
}
