"""What the doctor can mend, after consent: plan.py and plan_*.py decide, carry_out.py does it."""
