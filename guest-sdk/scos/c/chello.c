/* An ordinary C program. */
#include <stdio.h>

int main(int argc, char **argv)
{
	printf("hello from C: %d arguments, %s\n", argc, argv[0]);
	return 0;
}
