/* SPDX-License-Identifier: ISC */
/*
 * A main for a fuzz target without libFuzzer: runs the stored inputs of one
 * folder, each as it is, cut short at every length, and with every byte
 * changed; with --as-is, for a measure of what they reach, only as they are.
 * Prints TAP; a fault ends the program.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX 65536

/* Run on memory that ends where the input does, for the sanitizers' sake. */
static void
run_exact(const uint8_t *buf, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	fuzz_require(copy != NULL);
	memcpy(copy, buf, len);
	(void)LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static void
run_variants(uint8_t *buf, size_t len)
{
	static const uint8_t masks[] = { 0x01, 0x80, 0xff };
	size_t i, m;

	for (i = 0; i <= len; i++)
		run_exact(buf, i);
	for (i = 0; i < len; i++)
		for (m = 0; m < sizeof(masks); m++) {
			buf[i] ^= masks[m];
			run_exact(buf, len);
			buf[i] ^= masks[m];
		}
}

static int
run_file(const char *name, unsigned number, bool as_is)
{
	static uint8_t buf[INPUT_MAX];
	char path[4096];
	size_t len;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s", CORPUS, name) >=
	    (int)sizeof(path) || (f = fopen(path, "rb")) == NULL) {
		(void)printf("not ok %u - %s: %s\n", number, name,
		    strerror(errno));
		return -1;
	}
	len = fread(buf, 1, sizeof(buf), f);
	(void)fclose(f);
	if (as_is)
		run_exact(buf, len);
	else
		run_variants(buf, len);
	(void)printf("ok %u - %s\n", number, name);
	return 0;
}

int
main(int argc, char **argv)
{
	bool as_is = argc > 1 && strcmp(argv[1], "--as-is") == 0;
	struct dirent **names;
	unsigned number = 0;
	int i, n, failed = 0;

	n = scandir(CORPUS, &names, NULL, alphasort);
	for (i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.' &&
		    run_file(names[i]->d_name, ++number, as_is) != 0)
			failed = 1;
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	(void)printf("1..%u\n", number);
	if (number == 0) {
		(void)fprintf(stderr, "%s: no inputs\n", CORPUS);
		failed = 1;
	}
	return failed;
}
