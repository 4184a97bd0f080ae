"""What the doctor can mend, after consent: plan.py decides, carry_out.py does it."""
