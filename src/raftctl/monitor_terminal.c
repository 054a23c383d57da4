/* What a terminal can do. A file of its own: <term.h> defines names such as `lines`. */
#include <unistd.h>
#include <curses.h>
#include <term.h>
#include "monitor.h"

bool monitor_can_draw(void)
{
	int known = 0;
	bool can;

	if (setupterm(NULL, STDOUT_FILENO, &known) == ERR)
		return false;
	/* To put the cursor anywhere, and to clear: what a dumb terminal cannot. */
	can = cursor_address != NULL && clear_screen != NULL;
	(void)del_curterm(cur_term);
	return can;
}
